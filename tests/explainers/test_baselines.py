"""Maps that know nothing of a classifier: closed forms."""

import numpy as np
import pytest
import torch

from glasshead.explainers.baselines import centre_gaussian, edge_detector, random_map
from glasshead.explainers.maps import map_faults
from glasshead.explainers.passes import Budget

TARGETS = torch.tensor([0, 1])
MODEL = torch.nn.Flatten()


def test_the_gaussian_is_of_the_centre_and_the_same_for_all(scenes):
    maps = centre_gaussian(MODEL, scenes[:2], TARGETS, Budget()).values
    assert maps.shape == (2, 32, 32)
    np.testing.assert_array_equal(maps[0], maps[1])
    np.testing.assert_allclose(maps, maps[:, ::-1, ::-1])
    np.testing.assert_allclose(maps, maps.transpose(0, 2, 1))
    # at 7.5 pixels from the middle, standard deviation 8
    assert maps[0, 15, 8] / maps[0, 15, 15] == pytest.approx(np.exp((0.5**2 - 7.5**2) / 128))


def test_edges_are_where_brightness_steps():
    images = torch.zeros(2, 3, 6, 8)
    images[0, :, :, 4:] = 1.0
    images[1, 1, 3:] = 1.0
    expected = np.zeros((2, 6, 8))
    expected[0, :, 3:5] = 4.0
    expected[1, 2:4] = 4 * 0.587
    edges = edge_detector(MODEL, images, TARGETS, Budget())
    np.testing.assert_allclose(edges.values, expected, atol=1e-5)


def test_a_plain_image_has_no_edges_and_is_flagged():
    edges = edge_detector(MODEL, torch.full((2, 3, 6, 6), 0.5), TARGETS, Budget())
    np.testing.assert_allclose(edges.values, 0, atol=1e-6)
    assert map_faults(edges.maps)["constant"].all()


def test_random_maps_are_uniform_and_of_the_seed(scenes):
    first, again, other = (
        random_map(MODEL, scenes[:2], TARGETS, Budget(seed=seed)).values for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 5 / np.sqrt(first.size)
    assert abs(first.mean() - 0.5) < 5 / np.sqrt(12 * first.size)
