"""The dataset hands out a store of Classifiers and saves nothing itself."""

import pytest
from kedro.io import DatasetError

from glasshead.datasets.models import ClassifierStoreDataset


def test_it_hands_out_the_store_of_its_folder(tmp_path):
    store = ClassifierStoreDataset(filepath=str(tmp_path), part="calibrated").load()
    assert store.folder("heads") == tmp_path / "heads" / "calibrated"


def test_it_exists_with_its_folder(tmp_path):
    dataset = ClassifierStoreDataset(filepath=str(tmp_path / "models"))
    assert not dataset.exists()
    (tmp_path / "models").mkdir()
    assert dataset.exists()


def test_nothing_is_saved_as_a_whole(tmp_path):
    with pytest.raises(DatasetError, match="one by one"):
        ClassifierStoreDataset(filepath=str(tmp_path)).save("classifier")
