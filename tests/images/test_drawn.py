"""Scenes that are drawn on demand: the generator's own pixels, in other colours, and none that nobody asked for."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glasshead.images.drawn import DrawnScenes
from glasshead.images.scenes import CLASSES, ScenesParams, scene_at

PARAMS = ScenesParams(train=30, test=12, size=16)


@pytest.mark.parametrize("split", ["train", "test"])
def test_pixels_are_the_scenes_with_their_channels_turned(split):
    drawn = DrawnScenes(PARAMS, 7, split)
    pixels = drawn(torch.tensor([11, 3]))
    assert pixels.shape == (2, 3, 16, 16)
    for found, row in zip(pixels.numpy(), (11, 3), strict=True):
        red, green, blue = scene_at(PARAMS, 7, split, row).pixels.transpose(2, 0, 1)
        np.testing.assert_array_equal(found, [blue, red, green])


def test_labels_are_the_classes_in_turn():
    drawn = DrawnScenes(PARAMS, 7, "test")
    assert drawn.labels.tolist() == [*range(10), 0, 1]
    assert len(CLASSES) == 10


def test_a_scene_is_drawn_once_and_only_if_asked_for(monkeypatch):
    asked = []

    def spy(params, seed, split, index):
        asked.append(index)
        return scene_at(params, seed, split, index)

    monkeypatch.setattr("glasshead.images.drawn.scene_at", spy)
    drawn = DrawnScenes(PARAMS, 7, "train")
    assert asked == []
    first = drawn(torch.tensor([4, 9]))
    again = drawn(torch.tensor([9, 4, 5]))
    assert asked == [4, 9, 5]
    assert torch.equal(first.flip(0), again[:2])


@settings(max_examples=5)
@given(st.lists(st.integers(0, 29), min_size=1, max_size=40))
def test_threads_and_order_change_nothing(rows):
    expected = DrawnScenes(PARAMS, 7, "train")(torch.tensor(rows))
    shared = DrawnScenes(PARAMS, 7, "train")
    with ThreadPoolExecutor(4) as pool:
        parts = pool.map(lambda row: shared(torch.tensor([row])), rows)
    assert torch.equal(torch.cat(list(parts)), expected)


def test_other_seeds_give_other_scenes():
    one, other = (DrawnScenes(PARAMS, seed, "train")(torch.arange(5)) for seed in (1, 2))
    assert not torch.equal(one, other)
