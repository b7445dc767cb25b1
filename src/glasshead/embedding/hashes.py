"""Content hashes as bytes (n, 32), the search for equal hashes, and images in memory with their hashes."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from glasshead.errors import ParameterError

Hashes = UInt8[np.ndarray, "n 32"]


def as_hashes(content_hash: Iterable[str]) -> Hashes:
    """Return content hashes, given as hex SHA-256, as bytes (n, 32)."""
    return np.frombuffer(bytes.fromhex("".join(content_hash)), np.uint8).reshape(-1, 32)


class HashIndex:
    """Finds equal hashes by their first eight bytes, then compares them completely; needs 16 bytes for each row."""

    def __init__(self, hashes: Hashes) -> None:
        self._hashes = hashes
        starts = _starts(hashes)
        self._order = np.argsort(starts, kind="stable")
        self._sorted = starts[self._order]

    def pairs(self, wanted: UInt8[np.ndarray, "m 32"]) -> tuple[np.ndarray, np.ndarray]:
        """Return all pairs `(i, j)` with `hashes[i] == wanted[j]`, as two arrays, in ascending order of j."""
        starts = _starts(wanted)
        begin, end = (np.searchsorted(self._sorted, starts, side) for side in ("left", "right"))
        count = end - begin
        theirs = np.repeat(np.arange(len(wanted)), count)
        within = np.arange(len(theirs)) - np.repeat(np.cumsum(count) - count, count)
        mine = self._order[np.repeat(begin, count) + within]
        equal = (self._hashes[mine] == wanted[theirs]).all(axis=1)
        return mine[equal], theirs[equal]

    def first(self) -> Int[np.ndarray, " k"]:
        """Return, in ascending order, the rows whose hash no earlier row has."""
        candidates = self._order[1:][self._sorted[1:] == self._sorted[:-1]]
        mine, theirs = self.pairs(self._hashes[candidates])
        later = candidates[theirs]
        is_first = np.ones(len(self._hashes), bool)
        is_first[later[mine < later]] = False
        return np.flatnonzero(is_first)


def _starts(hashes: UInt8[np.ndarray, "n 32"]) -> np.ndarray:
    return np.ascontiguousarray(hashes[:, :8]).view(np.uint64).ravel()


class PixelImages:
    """RGB images of one size: `pixels` (n, 3, h, w) from 0 to 255, on the CPU.

    The hash of an image is the SHA-256 of its size and pixels. Raises ParameterError for `pixels` of another type,
    shape or device, or if there is not one id for each image.
    """

    def __init__(
        self, pixels: UInt8[Tensor, "n 3 h w"], image_id: Sequence[str] | None = None
    ) -> None:
        if (
            pixels.dtype != torch.uint8
            or pixels.ndim != 4
            or pixels.shape[1] != 3
            or pixels.is_cuda
        ):
            raise ParameterError(
                "Pixels to embed must be uint8 (n, 3, h, w) from 0 to 255 on the CPU, not "
                f"{str(pixels.dtype).removeprefix('torch.')} {tuple(pixels.shape)} on {pixels.device}."
            )
        names = [str(row) for row in range(len(pixels))] if image_id is None else list(image_id)
        if len(names) != len(pixels):
            raise ParameterError(
                f"There are {len(names)} ids for {len(pixels)} images. Give one for each image."
            )
        self._pixels = pixels.contiguous()
        self._ids = pd.Series(names, dtype="str")
        size = str(tuple(pixels.shape[1:])).encode()
        digests = (
            hashlib.sha256(size + image.tobytes()).digest() for image in self._pixels.numpy()
        )
        self._hashes = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)

    def __len__(self) -> int:
        return len(self._pixels)

    def ids(self) -> pd.Series:
        """Return the image ids in row order: those given, or the rows' numbers."""
        return self._ids

    def hashes(self) -> UInt8[np.ndarray, "n 32"]:
        """Return the hash of each image in row order."""
        return self._hashes

    def batch(self, rows: np.ndarray) -> UInt8[Tensor, "b 3 h w"]:
        """Return the pixels of `rows`."""
        return self._pixels[torch.from_numpy(rows)]

    def release(self) -> None:
        """Do nothing, as the pixels belong to the caller."""
