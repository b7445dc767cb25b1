"""A shard of the store, a safetensors file: its hashes are read, its values mapped into memory."""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

_KINDS: dict[str, dict[str, type[np.generic]]] = {
    "hashes": {"U8": np.uint8},
    "values": {"F32": np.float32, "F16": np.float16},
}


class OpenShard(NamedTuple):
    """Hashes (r, 32) uint8 in memory, and values (r, ...) mapped."""

    hashes: np.ndarray
    values: np.ndarray


def open_shard(path: Path) -> OpenShard:
    """Open a shard; raises ValueError, KeyError or TypeError where it is none.

    Hashes are read: if mapped, they would cost memory for values around them, as the system maps pages in groups.
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
    """What a safetensors header says of the array `name`; ValueError where it cannot be."""

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
