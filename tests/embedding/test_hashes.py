"""Equal hashes are found, whatever they begin with; images in memory are known by theirs."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from glasshead.embedding import counting
from glasshead.embedding.counting import CountingEncoder
from glasshead.embedding.hashes import HashIndex, PixelImages, as_hashes
from glasshead.embedding.local import embed_images
from glasshead.embedding.store import EmbeddingStore
from glasshead.errors import ParameterError
from glasshead.images.scenes import CLASSES, ScenesParams, generate_scenes
from glasshead.images.table import ImageTable
from glasshead.models.backbone import BackboneParams
from glasshead.models.clip import load_encoder

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


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(BackboneParams())


def scenes(size: int) -> tuple[ImageTable, torch.Tensor]:
    records = generate_scenes(ScenesParams(train=10, test=10, size=size), seed=0)
    table = ImageTable.from_records(records, CLASSES, ("colour", "habitat", "size"))
    arrays = np.stack([np.asarray(table.pil(row)) for row in range(len(table))])
    return table, torch.from_numpy(arrays).permute(0, 3, 1, 2)


@pytest.mark.parametrize("size", [32, 48])
def test_pixels_give_the_embeddings_of_the_files(encoder, tmp_path, size):
    table, pixels = scenes(size)
    files, _ = embed_images(table, encoder, EmbeddingStore(tmp_path / "files"), device="cpu")
    images = PixelImages(pixels, table.ids().tolist())
    arrays, summary = embed_images(
        images, encoder, EmbeddingStore(tmp_path / "pixels"), device="cpu"
    )
    np.testing.assert_allclose(arrays.values[:], files.values[:], atol=1e-5)
    assert arrays.image_id.tolist() == files.image_id.tolist()
    assert summary["embed/encoded"] == len(table)


def test_equal_pixels_are_one_content_and_another_size_is_another():
    pixels = torch.zeros(3, 3, 4, 8, dtype=torch.uint8)
    pixels[2] = 1
    first, second, third = PixelImages(pixels).hashes()
    assert (first == second).all()
    assert (first != third).any()
    (other,) = PixelImages(pixels[:1].reshape(1, 3, 8, 4)).hashes()
    assert (first != other).any()


def test_the_path_of_a_gpu_is_near_float32(encoder, monkeypatch):
    """bfloat16 and channels_last, on a CPU: the same lines run on CUDA. Outputs keep eight bits of mantissa."""
    monkeypatch.setitem(counting._PRECISIONS, "cpu", ("float32", "bfloat16"))
    _, pixels = scenes(32)
    exact = CountingEncoder(load_encoder(BackboneParams()), "cpu", "float32")(pixels)
    near = CountingEncoder(load_encoder(BackboneParams()), "cpu", "bfloat16")(pixels)
    assert near.dtype == torch.bfloat16
    assert torch.cosine_similarity(near.float(), exact).min() > 0.999


@pytest.mark.parametrize(
    ("pixels", "ids", "message"),
    [
        (torch.zeros(2, 3, 4, 4), None, "not float32"),
        (torch.zeros(2, 4, 4, 3, dtype=torch.uint8), None, r"uint8 \(2, 4, 4, 3\)"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), ["a"], "1 ids for 2 images"),
    ],
)
def test_other_pixels_are_refused(pixels, ids, message):
    with pytest.raises(ParameterError, match=message):
        PixelImages.__init__.__wrapped__(object.__new__(PixelImages), pixels, ids)


def test_an_encoder_stays_as_it_was(encoder, monkeypatch):
    monkeypatch.setitem(counting._PRECISIONS, "cpu", ("bfloat16",))
    key = encoder.key
    CountingEncoder(encoder, "cpu")
    assert encoder.key == key
