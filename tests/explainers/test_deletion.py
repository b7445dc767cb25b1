"""Deletion and insertion curves of a model whose curves are known."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glasshead.errors import ParameterError
from glasshead.explainers.deletion import pixel_auc, pixel_curves

SIDE = 4
WEIGHTS = torch.rand(2, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) / SIDE**2


def linear(images: torch.Tensor) -> torch.Tensor:
    """Return two "probabilities", each a weighted sum of the channels' mean."""
    return torch.einsum("bhw,khw->bk", images.mean(dim=1), WEIGHTS)


@pytest.mark.parametrize("steps", [SIDE**2, 4, 3])
@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_the_curves_of_a_linear_model_are_sums_of_sorted_weights(steps, batch_size):
    images, targets = torch.ones(2, 3, SIDE, SIDE), torch.tensor([0, 1])
    fractions, curves = pixel_curves(
        linear, images, images / 4, targets, WEIGHTS.numpy(), steps, batch_size
    )
    counts = np.round(np.linspace(0, SIDE**2, steps + 1)).astype(int)
    np.testing.assert_allclose(fractions, counts / SIDE**2)
    for curve, weights in zip(curves, WEIGHTS.double(), strict=True):
        descending = weights.flatten().sort(descending=True).values
        expected = [descending.sum() - 0.75 * descending[:count].sum() for count in counts]
        np.testing.assert_allclose(curve, expected, atol=1e-6)


def test_a_map_of_the_weights_is_the_best_there_is():
    image, targets = torch.ones(2, 3, SIDE, SIDE), torch.tensor([0, 1])
    nothing, best = 0 * image, WEIGHTS.numpy()

    def areas(maps):
        there = pixel_auc(linear, image, nothing, targets, maps, steps=16)
        return there, pixel_auc(linear, nothing, image, targets, maps, steps=16)

    draw = np.random.default_rng(0)
    for _ in range(5):
        other = draw.permuted(best.reshape(2, -1), axis=1).reshape(best.shape)
        (deletion, insertion), (worse, less) = areas(best), areas(other)
        assert (deletion < worse).all()
        assert (insertion > less).all()


def test_constant_probabilities_are_their_own_area():
    images, targets = torch.rand(3, 3, SIDE, SIDE), torch.tensor([0, 1, 1])
    maps = np.random.default_rng(0).normal(size=(3, SIDE, SIDE))
    constant = torch.tensor([[0.2, 0.8]])
    area = pixel_auc(lambda x: constant.repeat(len(x), 1), images, 0 * images, targets, maps, 5)
    np.testing.assert_allclose(area, [0.2, 0.8, 0.8], rtol=1e-6)


@given(st.integers(0, 1000), st.integers(1, SIDE**2))
def test_inserting_the_highest_is_deleting_the_lowest_backwards(seed, steps):
    draw = torch.Generator().manual_seed(seed)
    images, fill = torch.rand(2, 2, 3, SIDE, SIDE, generator=draw)
    maps = np.random.default_rng(seed).permuted(np.arange(2.0 * SIDE**2)).reshape(2, SIDE, SIDE)
    targets = torch.tensor([1, 0])

    def probabilities(images):
        return linear(images).softmax(dim=1)

    insertion = pixel_curves(probabilities, fill, images, targets, maps, SIDE**2, 64)[1]
    deletion = pixel_curves(probabilities, images, fill, targets, -maps, SIDE**2, 64)[1]
    np.testing.assert_allclose(insertion, deletion[:, ::-1], atol=1e-6)
    assert (pixel_auc(probabilities, fill, images, targets, maps, steps) > 0).all()


def test_tied_pixels_go_in_row_major_order():
    images, targets = torch.ones(1, 3, SIDE, SIDE), torch.tensor([0])
    _, curves = pixel_curves(
        linear, images, 0 * images, targets, np.zeros((1, SIDE, SIDE)), SIDE**2, 64
    )
    total = WEIGHTS[0].flatten().double()
    expected = total.sum() - torch.cat([torch.zeros(1).double(), total.cumsum(0)])
    np.testing.assert_allclose(curves[0], expected, atol=1e-6)


def test_a_map_with_a_nan_has_no_area():
    images, targets = torch.ones(2, 3, SIDE, SIDE), torch.tensor([0, 1])
    maps = WEIGHTS.numpy().copy()
    maps[1, 0, 0] = np.nan
    for ends in ((images, 0 * images), (0 * images, images)):
        area = pixel_auc(linear, *ends, targets, maps, steps=4)
        np.testing.assert_array_equal(np.isnan(area), [False, True])


@pytest.mark.parametrize("steps", [0, SIDE**2 + 1])
def test_impossible_steps_are_refused(steps):
    images, targets = torch.ones(1, 3, SIDE, SIDE), torch.tensor([0])
    with pytest.raises(ParameterError, match="between 1 and the 16 pixels"):
        pixel_auc(linear, images, 0 * images, targets, WEIGHTS[:1].numpy(), steps=steps)
