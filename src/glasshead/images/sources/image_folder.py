"""`image_folder`: one folder per class, under train/ and test/ or directly under the root; only ever read."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from glasshead.errors import SourceError
from glasshead.images.sources.base import Refused, Source, plain_record
from glasshead.images.table import Record

SPLITS = ("train", "test")
MAX_BYTES = 2**28  # a larger file is no image that the pixel limit of decoding would let through


class ImageFolderParams(BaseModel, extra="forbid", frozen=True):
    """`path`: the root folder."""

    path: Path | None = None


def open_image_folder(params: ImageFolderParams) -> Source:
    """Return every file below a class folder, in path order; the id is the path relative to the root.

    Names that begin with a dot are ignored. Files outside a class folder, links that lead out of the root, linked
    folders, special and unreadable files are refused one by one. Raises SourceError where there is no such layout.
    """
    root = params.path
    if root is None or not root.is_dir():
        raise SourceError(f"ingest.image_folder.path: {root} is not a folder.")
    try:
        tops = _tops(root)
        classes = sorted({folder for top in tops for folder in _folders(root / top)})
    except OSError as error:
        raise SourceError(f"ingest.image_folder.path: {error}") from error
    if not classes:
        raise SourceError(
            f"ingest.image_folder.path: {root} has no folder per class. Put each class's images in one."
        )
    if unreadable := [name for name in classes if not _is_text(name)]:
        raise SourceError(
            f"class folder {_shown(unreadable[0])} in {root} is not named in UTF-8: rename it."
        )
    return Source(tuple(classes), _records(root.resolve(), tops))


def _tops(root: Path) -> tuple[str, ...]:
    """Return ("train", "test"), one of them, or ("",) where class folders lie directly under the root."""
    folders = _folders(root)
    splits = tuple(name for name in SPLITS if name in folders and _folders(root / name))
    others = sorted(set(folders) - set(splits))
    if splits and others:
        raise SourceError(
            f"{root} has {' and '.join(splits)} beside {', '.join(map(_shown, others))}: keep either class folders, or "
            "train/ and test/ with class folders in them. Validation data belongs in train/: it is cut from there."
        )
    return splits or ("",)


def _records(root: Path, tops: tuple[str, ...]) -> Iterator[Record | Refused]:
    for path in _files(root):
        name = path.relative_to(root).as_posix()
        *folders, _ = name.split("/")
        split = folders.pop(0) if folders and folders[0] in tops else None
        label = folders[0] if folders else None
        if reason := _refusal(root, path, label):
            yield Refused(_shown(name), reason)
        else:
            yield _read(path, name, str(label), split)


def _files(folder: Path) -> Iterator[Path]:
    """Yield everything below `folder` that is no folder, in name order, and folders that cannot be read."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        yield folder
        return
    for entry in entries:
        if entry.name.startswith("."):
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
        return f"too large: {status.st_size} bytes, the limit is {MAX_BYTES}"
    if not _is_text(str(path.relative_to(root))):
        return "its name is not UTF-8"
    return "" if label else "not in a class folder"


def _read(path: Path, name: str, label: str, split: str | None) -> Record | Refused:
    try:
        return plain_record(name, path.read_bytes(), label, split)
    except OSError as error:
        return Refused(name, f"cannot be read: {error.strerror}")


def _folders(folder: Path) -> list[str]:
    return [
        e.name
        for e in os.scandir(folder)
        if e.is_dir(follow_symlinks=False) and not e.name.startswith(".")
    ]


def _is_text(name: str) -> bool:
    return _shown(name) == name


def _shown(name: str) -> str:
    """Return `name` with bytes that are not UTF-8 written as backslash escapes."""
    return os.fsencode(name).decode(errors="backslashreplace")
