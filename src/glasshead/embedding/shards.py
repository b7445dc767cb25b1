"""The files of an embedding store: memory-mapped safetensors shards, and a manifest of the complete ones."""

import json
import logging
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glasshead.errors import EmbeddingError
from glasshead.files import write_atomically

logger = logging.getLogger(__name__)

SHARD_NAME = re.compile(r"[0-9a-f]{64}\.safetensors")
_KINDS: dict[str, dict[str, type[np.generic]]] = {
    "hashes": {"U8": np.uint8},
    "values": {"F32": np.float32, "F16": np.float16},
}


class OpenShard(NamedTuple):
    """A shard's hashes (r, 32) uint8, in memory, and its values (r, ...), memory-mapped."""

    hashes: np.ndarray
    values: np.ndarray


def open_shard(path: Path) -> OpenShard:
    """Open a shard; raises ValueError, KeyError or TypeError for other files.

    Hashes are read, not mapped: the system loads mapped pages in groups, and so would load nearby values too.
    """
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        size = os.fstat(file.fileno()).st_size
        if not 8 < start < size:
            raise ValueError("its header is not complete")
        header = json.loads(file.read(start - 8))
        if not isinstance(header, dict) or set(header) != set(_KINDS):
            raise ValueError("it does not hold hashes and values")
        hashes, values = (_Layout(name, **header[name]) for name in _KINDS)
        if start + hashes.size + values.size != size:
            raise ValueError("its arrays are not all there is")
        if hashes.shape != [values.shape[0], 32] or len(values.shape) < 2:
            raise ValueError("its arrays are not (r, 32) hashes and (r, ...) values")
        mapped = np.memmap(file, values.kind, "r", start + values.begin, tuple(values.shape))
        file.seek(start + hashes.begin)
        read = np.frombuffer(file.read(hashes.size), np.uint8).reshape(hashes.shape)
    return OpenShard(read, mapped)


@dataclass(frozen=True)
class _Layout:
    """The entry of the array `name` in a safetensors header; ValueError if it is inconsistent."""

    name: str
    dtype: str
    shape: list[int]
    data_offsets: list[int]

    def __post_init__(self) -> None:
        if self.dtype not in _KINDS[self.name] or not all(self.shape):
            raise ValueError(f"its {self.name} are {self.dtype} {self.shape}")
        if self.size != math.prod(self.shape) * np.dtype(self.kind).itemsize:
            raise ValueError(f"its {self.name} are not as long as their shape")

    @property
    def kind(self) -> type[np.generic]:
        return _KINDS[self.name][self.dtype]

    @property
    def begin(self) -> int:
        return self.data_offsets[0]

    @property
    def size(self) -> int:
        return self.data_offsets[1] - self.data_offsets[0]


@dataclass(frozen=True)
class Shard:
    """One row of the manifest; `shape` and `dtype` are those of the shard's values."""

    file: str
    sha256: str
    rows: int
    shape: list[int]
    dtype: str

    def __post_init__(self) -> None:
        names_itself = self.file == f"{self.sha256}.safetensors"
        if not names_itself or not SHARD_NAME.fullmatch(self.file):
            raise ValueError(f"{self.file!r} is not the name of a shard")

    @cached_property
    def line(self) -> str:
        """The row as JSON, made once: a long run writes it many times."""
        names = ("file", "sha256", "rows", "shape", "dtype")
        return json.dumps({name: getattr(self, name) for name in names})


class Manifest:
    """A store's `manifest.json`, read again only after it was replaced, so that adding a shard is cheap.

    This object remembers the shards that it added, even if another writer replaces the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = (
            None  # inode, time and size of the file as last read or written
        )
        self._read: dict[str, Shard] = {}
        self._added: dict[str, Shard] = {}

    def shards(self) -> dict[str, Shard]:
        """Return the shards of the manifest and those added here, by file; raises the errors of `listed`."""
        return self.listed() | self._added

    def listed(self) -> dict[str, Shard]:
        """Return the shards of the current manifest by file; none, with a warning, if it is damaged.

        Raises EmbeddingError if the file cannot be read.
        """
        try:
            status = self._path.stat()
            if (seen := (status.st_ino, status.st_mtime_ns, status.st_size)) != self._seen:
                listed = json.loads(self._path.read_bytes())["shards"]
                self._read = {shard["file"]: Shard(**shard) for shard in listed}
                self._seen = seen
        except FileNotFoundError:
            self._read, self._seen = {}, None
        except OSError as error:
            raise EmbeddingError(f"The embedding store cannot be read: {error}.") from error
        except (ValueError, TypeError, KeyError) as error:
            logger.warning(
                "%s is damaged (%s); its shards are checked one by one", self._path, error
            )
            self._read, self._seen = {}, seen
        return self._read

    def add(self, shard: Shard) -> None:
        """Add a complete shard."""
        self._added[shard.file] = shard
        self.replace(self.shards().values())

    def replace(self, shards: Iterable[Shard]) -> None:
        """List exactly these shards; raises ArtifactError if the file cannot be written."""
        self._read = {shard.file: shard for shard in sorted(shards, key=lambda shard: shard.file)}
        self._added = {file: shard for file, shard in self._added.items() if file in self._read}
        lines = ",\n".join(shard.line for shard in self._read.values())
        with write_atomically(self._path) as temporary:
            temporary.write_text(f'{{"shards": [\n{lines}\n]}}\n')
            status = temporary.stat()  # renaming keeps inode, time and size
        self._seen = status.st_ino, status.st_mtime_ns, status.st_size
