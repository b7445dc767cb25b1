"""Classifiers by name: put, found, taken again, and named where they are missing."""

import pytest
import torch

from glasshead.errors import ArtifactError
from glasshead.models.cnn import CNNClassifier, build_cnn
from glasshead.models.store import ClassifierStore


def tiny(seed: int) -> CNNClassifier:
    colour = (0.5, 0.5, 0.5)
    return build_cnn(
        "compact_cnn", ("a", "b"), 16, mean=colour, std=colour, provenance={}, seed=seed, width=0.1
    )


@pytest.fixture
def store(tmp_path) -> ClassifierStore:
    return ClassifierStore(tmp_path / "models", "calibrated")


def test_each_name_has_its_own_classifier(store):
    one, two = tiny(1), tiny(2)
    store.save("one", one)
    store.save("two", two)
    assert store.names() == ["one", "two"]
    for name, saved in (("one", one), ("two", two)):
        loaded = store.load(name).state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in saved.state_dict().items())


def test_a_name_is_replaced_as_a_whole(store):
    store.save("one", tiny(1))
    (store.folder("one") / "leftover").touch()
    store.save("one", tiny(2))
    assert sorted(path.name for path in store.folder("one").iterdir()) == [
        "classifier.json",
        "model.safetensors",
    ]


def test_only_complete_ones_count(store):
    store.save("one", tiny(1))
    (store.path / "two" / "uncalibrated").mkdir(parents=True)
    (store.path / "file").touch()
    assert store.names() == ["one"]


def test_a_missing_one_is_named_with_those_that_are_there(store):
    with pytest.raises(ArtifactError, match=r"no Classifier 'two' in .*, which holds none yet"):
        store.load("two")
    store.save("one", tiny(1))
    with pytest.raises(ArtifactError, match=r"no Classifier 'two' in .*, which holds one"):
        store.load("two")


def test_a_damaged_one_is_refused(store):
    store.save("one", tiny(1))
    weights = store.folder("one") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(ArtifactError, match="is not the file"):
        store.load("one")
