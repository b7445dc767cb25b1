"""Listing and reading of files at an fsspec address such as s3://bucket/folder, with one error for all failures."""

import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

import fsspec
from fsspec.registry import known_implementations
from pydantic import BeforeValidator, Field, StringConstraints

from glasshead.errors import SourceError
from glasshead.images.sources.class_folders import is_hidden

Address = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9+.-]*(://|::.*://)")]


def _without_file_protocol(value: Any) -> Any:
    return re.sub(r"^(file|local)://", "", value) if isinstance(value, str) else value


Location = Annotated[
    Address | Path,
    Field(union_mode="left_to_right"),
    BeforeValidator(
        _without_file_protocol
    ),  # so that local files are read as paths, with their checks of links and devices
]


class RemoteFile(NamedTuple):
    """A file below the address: its relative name, and its size in bytes if the storage tells it."""

    name: str
    size: int | None
    regular: bool


@dataclass(frozen=True)
class Remote:
    """The file or folder at `address`; fsspec turns the address into the file system `system` and the path `root`.

    All methods raise SourceError if the storage does not answer, refuses access, or has no such file or folder.
    """

    address: str
    system: fsspec.AbstractFileSystem
    root: str

    @classmethod
    def connect(cls, address: str) -> Self:
        """Return the file or folder at `address`, which may be chained (zip::s3://...).

        Raises SourceError if a package that the address needs is not installed.
        """
        if absent := _absent_packages(address):
            raise SourceError(
                f"{address} needs {' and '.join(absent)}, which is not installed. Run "
                f"`pip install -c constraints.txt {' '.join(absent)}`."
            )
        if archive := re.fullmatch(r"(zip|tar|libarchive)://[^:]*", address):
            kind = archive.group(1)
            raise SourceError(
                f"{address} does not say where the archive lies. Write {kind}::file:///PATH, or {kind}::s3://…"
            )
        with reaching(address):
            system, root = fsspec.url_to_fs(address)
            system.invalidate_cache()
        return cls(address, system, root.rstrip("/"))

    def is_file(self) -> bool:
        """Return whether the address is that of a file; a page on a web server that lists files is a folder."""
        with reaching(self.address):
            is_folder = not self.root.endswith(".parquet") and self.system.isdir(self.root)
            return bool(self.system.isfile(self.root)) and not is_folder

    def path(self, name: str) -> str:
        """Return the file system's path of the file or folder `name`, which is relative to the address."""
        return "/".join(piece for piece in (self.root, name) if piece)

    def folders(self, folder: str = "") -> list[str]:
        """Return the names of the folders in `folder`, in order, without hidden ones."""
        return [name for name, info in self._entries(folder) if _is_folder(info)]

    def names(self) -> list[str]:
        """Return the names of the files directly in the folder at the address, in order."""
        return [name for name, info in self._entries("") if not _is_folder(info)]

    def files(self, folder: str = "") -> Iterator[RemoteFile]:
        """Yield every file below `folder`, folder by folder, each in name order.

        Hidden names are left out; a key with an empty part, such as a//b, is in no folder.
        """
        for name, info in self._entries(folder):
            inner = f"{folder}/{name}" if folder else name
            if _is_folder(info):
                yield from self.files(inner)
            else:
                regular = info["type"] == "file" and not info.get("islink")
                yield RemoteFile(inner, self._size(inner, info), regular)

    def read(self, names: list[str]) -> list[bytes | FileNotFoundError | PermissionError]:
        """Return the bytes of files, fetched together if possible; for a missing or forbidden file, the error."""
        paths = [self.path(name) for name in names]
        with reaching(self.address):
            read = self.system.cat_ranges(paths, None, None, on_error="return") if paths else []
            for data in read:
                if not isinstance(data, bytes | FileNotFoundError | PermissionError):
                    raise data
        return read

    def _entries(self, folder: str) -> list[tuple[str, dict[str, Any]]]:
        path = self.path(folder)
        with reaching(self.address):
            listed = self.system.ls(path, detail=True)
            self.system.invalidate_cache(path)  # otherwise all listings would stay in memory
        paths = [(info["name"].strip("/"), info) for info in listed]
        inside = [
            (path_inside, info) for path_inside, info in paths if path_inside != path.strip("/")
        ]
        named = [(path_inside.rsplit("/", 1)[-1], info) for path_inside, info in inside]
        visible = [(name, info) for name, info in named if not is_hidden(name)]
        return sorted(visible, key=itemgetter(0))

    def _size(self, name: str, info: dict[str, Any]) -> int | None:
        if info.get("size") is not None:
            return int(info["size"])
        with reaching(self.address):
            size = self.system.size(self.path(name))
        return None if size is None else int(size)


@contextmanager
def reaching(address: str) -> Iterator[None]:
    """Turn the errors of fsspec and of the packages behind it, which have no common base, into SourceError."""
    try:
        yield
    except FileNotFoundError as error:
        raise SourceError(
            f"{address} or something in it does not exist: {error}. Correct the address."
        ) from error
    except Exception as error:
        raise SourceError(
            f"{address} cannot be read: {type(error).__name__}: {error}. Check the address, the network, and the "
            "credentials, which come from the environment or the storage's own configuration files."
        ) from error


def _absent_packages(address: str) -> list[str]:
    """Return the packages that the protocols of `address` need and that are not installed."""
    protocols = re.findall(r"([a-z][a-z0-9+.-]*)(?:://|::)", address)
    known = [known_implementations[name] for name in protocols if name in known_implementations]
    packages = {entry["class"].partition(".")[0] for entry in known}
    return sorted(name for name in packages if importlib.util.find_spec(name) is None)


def _is_folder(info: dict[str, Any]) -> bool:
    return bool(info["type"] == "directory")
