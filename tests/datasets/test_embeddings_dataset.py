"""Which embeddings are a run's, and the store's dataset."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from kedro.io import DatasetError

from glasshead.datasets.embeddings import EmbeddingsDataset, EmbeddingStoreDataset
from glasshead.embedding.hashes import as_hashes
from glasshead.embedding.store import Embeddings, EmbeddingStore
from glasshead.errors import EmbeddingError

IDS = np.array(["train/0", "ü\n,", "test/0", "train/1"], object)
HASHES = np.array(["a" * 64, "b" * 64, "c" * 64, "a" * 64], object)
VALUES = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
KEY = "0123abcd.float32.float32"


@pytest.fixture
def store(tmp_path) -> EmbeddingStore:
    store = EmbeddingStore(tmp_path / "store")
    store.append(KEY, as_hashes(HASHES[:3]), VALUES)
    return store


@pytest.fixture
def dataset(tmp_path):
    folder = {"filepath": str(tmp_path / "store")}
    return EmbeddingsDataset(filepath=str(tmp_path / "embeddings.parquet"), store=folder)


def embeddings(store: EmbeddingStore) -> Embeddings:
    return Embeddings(IDS, as_hashes(HASHES), store.rows(KEY, as_hashes(HASHES)), "0123abcd", KEY)


def test_embeddings_come_back_bit_for_bit_from_the_store(dataset, store, tmp_path):
    dataset.save(embeddings(store))
    loaded = dataset.load()
    assert loaded.image_id.tolist() == IDS.tolist()
    assert loaded.hashes.tolist() == as_hashes(HASHES).tolist()
    np.testing.assert_array_equal(loaded.values[:], VALUES[[0, 1, 2, 0]])
    np.testing.assert_array_equal(loaded.of(HASHES[[2, 0]], "0123abcd"), VALUES[[2, 0]])
    assert (loaded.encoder_key, loaded.store_key) == ("0123abcd", KEY)
    assert len(loaded) == 4


def test_the_same_embeddings_give_the_same_bytes(dataset, store, tmp_path):
    dataset.save(embeddings(store))
    first = (tmp_path / "embeddings.parquet").read_bytes()
    dataset.save(embeddings(store))
    assert (tmp_path / "embeddings.parquet").read_bytes() == first


def test_embeddings_that_the_store_lacks_are_named(dataset, store, tmp_path):
    dataset.save(embeddings(store))
    for path in (tmp_path / "store" / KEY).iterdir():
        path.unlink()
    for attempt in (dataset.load, lambda: dataset.save(embeddings(store))):
        with pytest.raises(
            DatasetError, match=r"4 of 4 embeddings are not in the store.*ü"
        ) as error:
            attempt()
        assert isinstance(error.value.__cause__, EmbeddingError)


def test_a_flipped_byte_is_found_wherever_it_means_something(dataset, store, tmp_path):
    dataset.save(embeddings(store))
    path = tmp_path / "embeddings.parquet"
    whole = path.read_bytes()
    clean = dataset.load()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with contextlib.suppress(DatasetError):  # or it is a byte that means nothing
            loaded = dataset.load()
            assert loaded.hashes.tolist() == clean.hashes.tolist()
            assert loaded.image_id.tolist() == clean.image_id.tolist()
            assert (loaded.encoder_key, loaded.store_key) == ("0123abcd", KEY)


def test_the_store_is_handed_out_but_not_saved(tmp_path):
    dataset = EmbeddingStoreDataset(filepath=str(tmp_path / "store"))
    assert not dataset.exists()
    assert isinstance(dataset.load(), EmbeddingStore)
    with pytest.raises(DatasetError, match="through the loaded object"):
        dataset.save(EmbeddingStore(Path(tmp_path)))
    assert list(tmp_path.iterdir()) == []
