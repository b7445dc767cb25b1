"""Worths of a two-layer network against those of any function; two ways to the mean of ReLUs against the plain one."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from glasshead.device import torch_threads
from glasshead.explainers import two_layer
from glasshead.explainers.coalitions import Game, coalitions, function_worths
from glasshead.explainers.shapley import exact_shapley, kernel_shapley
from glasshead.explainers.two_layer import TwoLayer, as_two_layer, mean_relu, mean_relu_by_search
from glasshead.models.heads import Bottleneck

COLUMNS, CLASSES = 7, 3
GROUPS = [[0, 3], [1], [2, 4, 5], [6]]


def network(seed: int, temperature: float | None, dtype: torch.dtype = torch.float64) -> TwoLayer:
    """Return a random network, steep enough for probabilities close to 0 and 1."""
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Linear(COLUMNS, 9), nn.ReLU(), nn.Linear(9, CLASSES)).to(dtype)
    for parameter in layers.parameters():
        parameter.data *= 4
    found = as_two_layer(layers, temperature)
    assert found is not None
    return found


def features(seed: int, rows: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(
        rows, COLUMNS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    ).to(dtype)


temperatures = pytest.mark.parametrize("temperature", [None, 1.0, 0.3])


@temperatures
@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 5), others=st.integers(1, 6))
def test_parts_are_worth_what_mixed_rows_are(temperature, seed, rows, others):
    given = features(seed, rows), features(seed + 1, others), GROUPS, torch.arange(rows) % CLASSES
    function = network(seed, temperature)
    game = Game(function, *given)
    expected = function_worths(game, coalitions(4))
    np.testing.assert_allclose(function.worths(game, coalitions(4)), expected, atol=1e-12)


@temperatures
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_equals_the_kernel_explainer_with_all_coalitions(temperature, dtype):
    function = network(3, temperature, dtype)
    given = features(3, 6, dtype), features(4, 20, dtype), GROUPS, torch.arange(6) % CLASSES
    game = Game(function, *given)
    ours, peer = exact_shapley(game), kernel_shapley(game)
    scale = max(1.0, np.abs(ours.output).max())
    np.testing.assert_allclose(ours.values, peer.values, atol=1e-6 * scale)


@temperatures
def test_blocks_and_threads_do_not_change_the_result(temperature, monkeypatch):
    function = network(5, temperature)
    game = Game(function, features(5, 7), features(6, 5), GROUPS, torch.arange(7) % CLASSES)
    arguments = game, coalitions(4)
    whole = function.worths(*arguments)
    with torch_threads(3):
        np.testing.assert_array_equal(function.worths(*arguments), whole)
    monkeypatch.setitem(two_layer.HELD, "cpu", 1)
    monkeypatch.setattr(two_layer, "ROWS", 3)
    np.testing.assert_allclose(function.worths(*arguments), whole, atol=1e-12)


def test_logits_too_far_apart_for_an_exponential_are_worth_0_or_1():
    function = network(0, 1e-4, torch.float32)
    arguments = features(0, 4, torch.float32), features(1, 3, torch.float32), GROUPS
    explained = exact_shapley(Game(function, *arguments, torch.arange(4) % CLASSES))
    assert np.isfinite(explained.values).all()
    np.testing.assert_allclose(explained.gap, 0, atol=1e-6)


@pytest.mark.parametrize(
    "other",
    [
        nn.Linear(COLUMNS, CLASSES),
        nn.Sequential(nn.Linear(COLUMNS, 4), nn.Tanh(), nn.Linear(4, CLASSES)),
        nn.Sequential(nn.Linear(COLUMNS, 4, bias=False), nn.ReLU(), nn.Linear(4, CLASSES)),
        nn.Sequential(nn.Linear(COLUMNS, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU()),
    ],
)
def test_other_networks_are_none(other):
    assert as_two_layer(other) is None


def test_the_meta_learner_of_a_bottleneck_is_one():
    bottleneck = Bottleneck(dimension=6, widths=(2, 3), classes=4, hidden=8, meta_hidden=9)
    found = as_two_layer(bottleneck.meta, 2.0)
    rows = bottleneck.to_probabilities(torch.randn(7, 5))
    expected = (bottleneck.meta(rows) / 2).softmax(dim=1)
    torch.testing.assert_close(found(rows), expected)


@pytest.mark.parametrize("way", [mean_relu, mean_relu_by_search])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [-9, -1, 0, 9])  # all units off, some, all on
def test_both_ways_give_the_mean(way, dtype, offset):
    draw = torch.Generator().manual_seed(0)
    present = torch.randn(3, 5, 7, generator=draw).to(dtype) + offset
    absent = torch.randn(3, 4, 7, generator=draw).to(dtype)
    absent[:, 1] = absent[:, 0]  # ties
    absent[0, 2] = -present[0, 1]  # exactly at the kink
    expected = (present[:, :, None] + absent[:, None]).relu().mean(dim=2)
    torch.testing.assert_close(way(present, absent), expected)
