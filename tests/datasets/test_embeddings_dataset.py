"""The embeddings' file and the store's dataset."""

import numpy as np
import pytest
from kedro.io import DatasetError

from glasshead.datasets.embeddings import EmbeddingsDataset, EmbeddingStoreDataset
from glasshead.embedding.store import Embeddings, EmbeddingStore
from glasshead.errors import ArtifactError, EmbeddingError

IDS = np.array(["train/0", "ü\n,", "test/0"], object)
HASHES = np.array(["a" * 64, "b" * 64, "c" * 64], object)


def embeddings(values: np.ndarray | None = None) -> Embeddings:
    if values is None:
        values = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    return Embeddings(IDS, HASHES, values, "0123abcd")


@pytest.fixture
def dataset(tmp_path):
    return EmbeddingsDataset(filepath=str(tmp_path / "embeddings.safetensors"))


def test_embeddings_come_back_bit_for_bit(dataset):
    dataset.save(embeddings())
    loaded = dataset.load()
    assert loaded.image_id.tolist() == IDS.tolist()
    assert loaded.content_hash.tolist() == HASHES.tolist()
    assert loaded.values.tobytes() == embeddings().values.tobytes()
    assert loaded.encoder_key == "0123abcd"
    assert len(loaded) == 3


def test_the_same_embeddings_give_the_same_bytes(dataset, tmp_path):
    dataset.save(embeddings())
    first = (tmp_path / "embeddings.safetensors").read_bytes()
    dataset.save(embeddings())
    assert (tmp_path / "embeddings.safetensors").read_bytes() == first


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_embeddings_that_are_no_embeddings_are_refused_by_name_on_save_and_load(
    dataset, bad, monkeypatch
):
    values = embeddings().values
    values[1] = bad
    with pytest.raises(DatasetError, match="ü\n,") as error:
        dataset.save(embeddings(values))
    assert isinstance(error.value.__cause__, EmbeddingError)
    assert not dataset.exists()

    with monkeypatch.context() as patched:
        patched.setattr("glasshead.datasets.embeddings.check_values", lambda *_: None)
        dataset.save(embeddings(values))
    with pytest.raises(DatasetError, match="ü\n,") as error:
        dataset.load()
    assert isinstance(error.value.__cause__, EmbeddingError)


def test_a_flipped_byte_is_found_wherever_it_means_something(dataset, tmp_path):
    dataset.save(embeddings())
    path = tmp_path / "embeddings.safetensors"
    whole = path.read_bytes()
    header = int.from_bytes(whole[:8], "little")
    for place in [0, 7, 8, 20, *range(8 + header, len(whole), 5)]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(DatasetError, match="is damaged") as error:
            dataset.load()
        assert isinstance(error.value.__cause__, ArtifactError)


def test_the_store_is_handed_out_but_not_saved(tmp_path):
    dataset = EmbeddingStoreDataset(filepath=str(tmp_path / "store"))
    assert not dataset.exists()
    assert isinstance(dataset.load(), EmbeddingStore)
    with pytest.raises(DatasetError, match="not saved"):
        dataset.save(EmbeddingStore(tmp_path))
    assert list(tmp_path.iterdir()) == []
