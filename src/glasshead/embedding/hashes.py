"""Content hashes as bytes (n, 32), and where equal ones are."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Int, UInt8

Hashes = UInt8[np.ndarray, "n 32"]


def as_hashes(content_hash: Iterable[str]) -> Hashes:
    """Return content hashes, SHA-256 as hex, as bytes."""
    return np.frombuffer(bytes.fromhex("".join(content_hash)), np.uint8).reshape(-1, 32)


class HashIndex:
    """Finds equal hashes by their first eight bytes, which then are compared whole; 16 bytes a row."""

    def __init__(self, hashes: Hashes) -> None:
        self._hashes = hashes
        starts = _starts(hashes)
        self._order = np.argsort(starts, kind="stable")
        self._sorted = starts[self._order]

    def pairs(self, others: UInt8[np.ndarray, "m 32"]) -> tuple[np.ndarray, np.ndarray]:
        """Return all `(i, j)`, as two arrays, with `hashes[i] == others[j]`; j ascends."""
        starts = _starts(others)
        begin, end = (np.searchsorted(self._sorted, starts, side) for side in ("left", "right"))
        count = end - begin
        theirs = np.repeat(np.arange(len(others)), count)
        within = np.arange(len(theirs)) - np.repeat(np.cumsum(count) - count, count)
        mine = self._order[np.repeat(begin, count) + within]
        equal = (self._hashes[mine] == others[theirs]).all(axis=1)
        return mine[equal], theirs[equal]

    def first(self) -> Int[np.ndarray, " k"]:
        """Return the rows that equal no earlier row, in order."""
        candidates = self._order[1:][self._sorted[1:] == self._sorted[:-1]]
        mine, theirs = self.pairs(self._hashes[candidates])
        later = candidates[theirs]
        is_first = np.ones(len(self._hashes), bool)
        is_first[later[mine < later]] = False
        return np.flatnonzero(is_first)


def _starts(hashes: UInt8[np.ndarray, "n 32"]) -> np.ndarray:
    return np.ascontiguousarray(hashes[:, :8]).view(np.uint64).ravel()
