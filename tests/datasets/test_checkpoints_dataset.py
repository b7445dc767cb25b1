"""The dataset that hands out a training's checkpoints."""

import pytest
import torch
from kedro.io import DatasetError

from glasshead.datasets.models import CheckpointsDataset
from glasshead.training.history import Progress


def test_what_a_training_saves_the_next_load_finds(tmp_path):
    dataset = CheckpointsDataset(filepath=str(tmp_path / "cnn" / "checkpoints"))
    assert not dataset.exists()
    dataset.load().save("last", "me", Progress(epoch=3), {"model/w": torch.ones(2)})
    assert dataset.exists()
    progress, tensors = dataset.load().load("last", "me")
    assert progress.epoch == 3
    assert torch.equal(tensors["model/w"], torch.ones(2))


def test_loading_creates_nothing(tmp_path):
    CheckpointsDataset(filepath=str(tmp_path / "checkpoints")).load()
    assert not list(tmp_path.iterdir())


def test_a_node_cannot_save_checkpoints(tmp_path):
    dataset = CheckpointsDataset(filepath=str(tmp_path / "checkpoints"))
    with pytest.raises(DatasetError, match="written one by one"):
        dataset.save(1)
