"""`image_folder`: one folder per class, under split folders or directly under the root. Nothing is written there.

The root is a local path or an fsspec address.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

from glasshead.errors import SourceError
from glasshead.images.sources.annotations import Annotations
from glasshead.images.sources.base import Refused, Source, SourceParams, plain_record
from glasshead.images.sources.class_folders import (
    MAX_BYTES,
    find_layout,
    is_hidden,
    is_text,
    shown,
    split_and_label,
)
from glasshead.images.sources.remote import Location, Remote, RemoteFile
from glasshead.images.table import Record

AT_ONCE = 64  # the most files fetched at a time from a remote root; together up to MAX_BYTES


class ImageFolderParams(SourceParams, frozen=True):
    """`path`: the root folder, a local path or an fsspec address, such as s3://bucket/folder.

    Attributes:
        attributes: a local CSV with the column file_name, an image's path relative to the root; the other columns
            become attributes.
        masks: a local folder with a PNG for each image, under the image's path relative to the root, with the suffix
            .png; pixels that are not black are the object.
    """

    location: ClassVar[str] = "path"

    path: Location | None = None
    attributes: Path | None = None
    masks: Path | None = None

    def open(self, seed: int) -> Source:
        """Return every file below a class folder, in path order; the id is the path relative to the root.

        Hidden names are ignored. Files outside a class folder, links that lead out of the root, linked
        folders, special and unreadable files, and images whose mask cannot be read are refused one by one. Raises
        SourceError for another layout, or unusable attributes.
        """
        annotations = Annotations.read(self.attributes, self.masks)
        return annotations.add_to(self._images())

    def known_classes(self) -> tuple[str, ...] | None:
        """Return the names of the class folders of a local root."""
        return None if isinstance(self.path, str) else self.open(0).classes

    def _images(self) -> Source:
        root = self.path
        if isinstance(root, str):
            remote = Remote.connect(root)
            tops, classes = find_layout(root, remote.folders)
            return Source(classes, _remote_records(remote, tops))
        if root is None or not root.is_dir():
            raise SourceError(
                f"ingest.image_folder.path: {root} is not a folder. Set it to the folder of the images."
            )
        try:
            tops, classes = find_layout(root, partial(_folders, root))
        except OSError as error:
            raise SourceError(f"ingest.image_folder.path: {error}") from error
        total = sum(1 for _ in _files(root))
        return Source(classes, _records(root.resolve(), tops), total=total)


def _records(root: Path, tops: tuple[str, ...]) -> Iterator[Record | Refused]:
    for path in _files(root):
        name = path.relative_to(root).as_posix()
        split, label = split_and_label(name, tops)
        if reason := _refusal(root, path, label):
            yield Refused(shown(name), reason)
        else:
            yield _read(path, name, str(label), split)


def _files(folder: Path) -> Iterator[Path]:
    """Yield all files below `folder` in name order, and folders that cannot be read."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        yield folder
        return
    for entry in entries:
        if is_hidden(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        else:
            yield Path(entry.path)


def _refusal(root: Path, path: Path, label: str | None) -> str:
    """Return why `path` must not be opened, or an empty string."""
    try:
        status = path.stat()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if path.is_symlink() and (
        stat.S_ISDIR(status.st_mode) or not path.resolve().is_relative_to(root)
    ):
        return "symbolic link to a folder or out of the root is not followed"
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file or readable folder"
    if status.st_size > MAX_BYTES:
        return _too_large(status.st_size)
    if not is_text(str(path.relative_to(root))):
        return "its name is not UTF-8"
    return "" if label else "not in a class folder"


def _read(path: Path, name: str, label: str, split: str | None) -> Record | Refused:
    try:
        return plain_record(name, path.read_bytes(), label, split)
    except OSError as error:
        return Refused(name, f"cannot be read: {error.strerror}")


def _remote_records(remote: Remote, tops: tuple[str, ...]) -> Iterator[Record | Refused]:
    for files in _batches(remote.files()):
        reasons = {file.name: _remote_refusal(file, tops) for file in files}
        sound = [name for name, reason in reasons.items() if not reason]
        read = dict(zip(sound, remote.read(sound), strict=True))
        for name, reason in reasons.items():
            data = read.get(name)
            split, label = split_and_label(name, tops)
            if isinstance(data, bytes):
                yield plain_record(name, data, str(label), split)
            else:
                yield Refused(shown(name), reason or f"cannot be read: {data}")


def _batches(files: Iterable[RemoteFile]) -> Iterator[list[RemoteFile]]:
    """Yield lists of at most AT_ONCE files with at most MAX_BYTES together; a single file may be larger."""
    batch: list[RemoteFile] = []
    for file in files:
        full = len(batch) == AT_ONCE or sum(f.size or 0 for f in (*batch, file)) > MAX_BYTES
        if batch and full:
            yield batch
            batch = []
        batch.append(file)
    if batch:
        yield batch


def _remote_refusal(file: RemoteFile, tops: tuple[str, ...]) -> str:
    """Return why `file` must not be fetched, or an empty string."""
    if not file.regular:
        return "not a regular file"
    if file.size is None:
        return "the storage does not tell its size"
    if file.size > MAX_BYTES:
        return _too_large(file.size)
    if not is_text(file.name):
        return "its name is not UTF-8"
    return "" if split_and_label(file.name, tops)[1] else "not in a class folder"


def _too_large(size: int) -> str:
    return f"too large: {size} bytes, the limit is {MAX_BYTES}"


def _folders(root: Path, folder: str) -> list[str]:
    return [
        e.name
        for e in os.scandir(root / folder)
        if e.is_dir(follow_symlinks=False) and not is_hidden(e.name)
    ]
