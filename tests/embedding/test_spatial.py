"""Spatial features from the store and from the encoder: the same rows, and which of the two by what budget."""

import io
import logging

import numpy as np
import pytest
import torch
from PIL import Image

from glasshead.embedding.spatial import SpatialParams, open_spatial, store_spatial
from glasshead.embedding.store import EmbeddingStore
from glasshead.errors import ArtifactError, EmbeddingError
from glasshead.images.sources.base import plain_record
from glasshead.images.table import ImageTable
from glasshead.models.backbone import BackboneParams
from glasshead.models.clip import load_encoder

N = 70


@pytest.fixture(scope="module")
def images() -> ImageTable:
    rng = np.random.default_rng(0)

    def record(row: int):
        data = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(data, "PNG")
        return plain_record(f"train/{row}", data.getvalue(), "cat" if row % 3 else "dog", None)

    return ImageTable.from_records(map(record, range(N)), ("cat", "dog"))


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(BackboneParams(), "spatial")


def test_both_ways_give_the_same_features_and_say_why(images, encoder, tmp_path, caplog):
    store, rows = EmbeddingStore(tmp_path), np.array([5, 0, 68])
    large, small = SpatialParams(budget_mb=2), SpatialParams(budget_mb=1)  # they take 1.1 MB
    with caplog.at_level(logging.INFO):
        stored, computed = (store_spatial(images, encoder, store, each) for each in (large, small))
    assert (stored["features/from"], computed["features/from"]) == ("store", "encoder")
    assert "70 × 64 × 128 in float16 take 1 MB, within risk.features.budget_mb = 2" in caplog.text
    assert "Spatial features come from the encoder" in caplog.text
    assert stored["embed/encoded"] == N
    assert "embed/encoded" not in computed
    first, second = (
        open_spatial(plan, images, encoder, store, large)(rows) for plan in (stored, computed)
    )
    assert first.shape == (3, 64, 128)
    torch.testing.assert_close(first, second, rtol=2e-3, atol=2e-3)
    again = store_spatial(images, encoder, store, large)
    assert (again["embed/encoded"], again["embed/cached"]) == (0, N)


def test_what_the_store_lacks_or_another_encoder_made_is_refused(images, encoder, tmp_path):
    params = SpatialParams()
    plan = {"encoder_key": encoder.key, "store_key": "0.float32.float16"}
    with pytest.raises(EmbeddingError, match="70 of 70 images have no spatial features"):
        open_spatial(plan, images, encoder, EmbeddingStore(tmp_path), params)
    with pytest.raises(ArtifactError, match="from another encoder"):
        open_spatial(plan | {"encoder_key": "1"}, images, encoder, EmbeddingStore(tmp_path), params)
