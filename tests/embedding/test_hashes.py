"""Equal hashes are found, against plain Python."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from glasshead.embedding.hashes import HashIndex, as_hashes

FEW = npst.arrays(
    np.uint8, st.tuples(st.integers(0, 12), st.just(32)), elements=st.sampled_from([0, 1])
)


def alike(hashes: np.ndarray) -> np.ndarray:
    """Return hashes that often agree in their first eight bytes, and sometimes in all."""
    hashes = hashes.copy()
    hashes[:, :31] = 0
    return hashes


def test_hex_becomes_bytes():
    digests = [hashlib.sha256(bytes([number])) for number in range(3)]
    hashes = as_hashes(digest.hexdigest() for digest in digests)
    assert [row.tobytes() for row in hashes] == [digest.digest() for digest in digests]
    assert as_hashes([]).shape == (0, 32)


@given(FEW, FEW)
def test_pairs_are_all_that_are_equal(hashes, others):
    for mine, theirs in ((hashes, others), (alike(hashes), alike(others))):
        expected = {
            (i, j)
            for i, a in enumerate(mine)
            for j, b in enumerate(theirs)
            if a.tobytes() == b.tobytes()
        }
        rows, columns = HashIndex(mine).pairs(theirs)
        assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == expected
        assert len(rows) == len(expected)
        assert (np.diff(columns) >= 0).all()


@given(FEW)
def test_the_first_of_each_are_found_in_order(hashes):
    for rows in (hashes, alike(hashes)):
        seen: dict[bytes, int] = {}
        for index, row in enumerate(rows):
            seen.setdefault(row.tobytes(), index)
        assert HashIndex(rows).first().tolist() == sorted(seen.values())
