"""Deletion and insertion curves of a model whose curves are known."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glasshead.errors import ParameterError
from glasshead.explainers.deletion import deletion_auc, insertion_auc, pixel_curves

SIDE = 4
WEIGHTS = torch.rand(2, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) / SIDE**2


def linear(images: torch.Tensor) -> torch.Tensor:
    """Return two "probabilities", each a weighted sum of the channels' mean."""
    return torch.einsum("bhw,khw->bk", images.mean(dim=1), WEIGHTS)


@pytest.mark.parametrize("steps", [SIDE**2, 4, 3])
@pytest.mark.parametrize("images_per_pass", [1, 7, 256])
def test_the_curves_of_a_linear_model_are_sums_of_sorted_weights(steps, images_per_pass):
    images, targets = torch.ones(2, 3, SIDE, SIDE), torch.tensor([0, 1])
    shares, curves = pixel_curves(
        linear, images, targets, WEIGHTS.numpy(), 0.25, steps, images_per_pass, insert=False
    )
    counts = np.round(np.linspace(0, SIDE**2, steps + 1)).astype(int)
    np.testing.assert_allclose(shares, counts / SIDE**2)
    for curve, weights in zip(curves, WEIGHTS.double(), strict=True):
        descending = weights.flatten().sort(descending=True).values
        expected = [descending.sum() - 0.75 * descending[:count].sum() for count in counts]
        np.testing.assert_allclose(curve, expected, atol=1e-6)


def test_a_map_of_the_weights_is_the_best_there_is():
    images, targets = torch.ones(2, 3, SIDE, SIDE), torch.tensor([0, 1])
    given = linear, images, targets
    best = WEIGHTS.numpy()
    draw = np.random.default_rng(0)
    for _ in range(5):
        other = draw.permuted(best.reshape(2, -1), axis=1).reshape(best.shape)
        assert (deletion_auc(*given, best, steps=16) < deletion_auc(*given, other, steps=16)).all()
        assert (
            insertion_auc(*given, best, steps=16) > insertion_auc(*given, other, steps=16)
        ).all()


def test_constant_probabilities_are_their_own_area():
    images, targets = torch.rand(3, 3, SIDE, SIDE), torch.tensor([0, 1, 1])
    maps = np.random.default_rng(0).normal(size=(3, SIDE, SIDE))
    half = deletion_auc(
        lambda x: torch.tensor([[0.2, 0.8]]).repeat(len(x), 1), images, targets, maps, steps=5
    )
    np.testing.assert_allclose(half, [0.2, 0.8, 0.8], rtol=1e-6)


@given(st.integers(0, 1000), st.integers(1, SIDE**2))
def test_inserting_the_highest_is_deleting_the_lowest_backwards(seed, steps):
    draw = torch.Generator().manual_seed(seed)
    images, fill = torch.rand(2, 2, 3, SIDE, SIDE, generator=draw)
    maps = np.random.default_rng(seed).permuted(np.arange(2.0 * SIDE**2)).reshape(2, SIDE, SIDE)
    given_images = (lambda x: linear(x).softmax(dim=1)), images, torch.tensor([1, 0])
    insertion = pixel_curves(*given_images, maps, fill, SIDE**2, 64, insert=True)[1]
    deletion = pixel_curves(*given_images, -maps, fill, SIDE**2, 64, insert=False)[1]
    np.testing.assert_allclose(insertion, deletion[:, ::-1], atol=1e-6)
    assert (insertion_auc(*given_images, maps, fill, steps) > 0).all()


def test_tied_pixels_go_in_row_major_order():
    images, targets = torch.ones(1, 3, SIDE, SIDE), torch.tensor([0])
    _, curves = pixel_curves(
        linear, images, targets, np.zeros((1, SIDE, SIDE)), 0.0, SIDE**2, 64, insert=False
    )
    total = WEIGHTS[0].flatten().double()
    expected = total.sum() - torch.cat([torch.zeros(1).double(), total.cumsum(0)])
    np.testing.assert_allclose(curves[0], expected, atol=1e-6)


def test_a_map_with_a_nan_has_no_area():
    images, targets = torch.ones(2, 3, SIDE, SIDE), torch.tensor([0, 1])
    maps = WEIGHTS.numpy().copy()
    maps[1, 0, 0] = np.nan
    for measure in (deletion_auc, insertion_auc):
        np.testing.assert_array_equal(
            np.isnan(measure(linear, images, targets, maps, steps=4)), [False, True]
        )


@pytest.mark.parametrize("steps", [0, SIDE**2 + 1])
def test_impossible_steps_are_refused(steps):
    images, targets = torch.ones(1, 3, SIDE, SIDE), torch.tensor([0])
    with pytest.raises(ParameterError, match="between 1 and the 16 pixels"):
        deletion_auc(linear, images, targets, WEIGHTS[:1].numpy(), steps=steps)
