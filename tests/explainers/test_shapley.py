"""Shapley values against closed forms and an independent implementation; estimates against exact values."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from glasshead.errors import ParameterError
from glasshead.explainers import coalitions
from glasshead.explainers.coalitions import Game
from glasshead.explainers.shapley import (
    exact_shapley,
    interaction_weights,
    kernel_shapley,
    permutation_shapley,
    shapley_interactions,
    shapley_weights,
)

GROUPS = [[0, 3], [1], [2, 4, 5], [6]]
COLUMNS = 7


def network(seed: int, columns: int = COLUMNS, outputs: int = 3):
    """Return a random two-layer function (m, columns) to probabilities (m, outputs), in float64."""
    draw = torch.Generator().manual_seed(seed)
    first = torch.randn(columns, 8, generator=draw, dtype=torch.float64)
    second = torch.randn(8, outputs, generator=draw, dtype=torch.float64)
    return lambda features: ((features @ first).tanh() @ second).softmax(dim=1)


def features(seed: int, rows: int, columns: int = COLUMNS) -> Tensor:
    return torch.rand(
        rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


seeds = st.integers(0, 10_000)


@settings(max_examples=25)
@given(seeds)
def test_contributions_and_base_add_up_to_the_output(seed):
    targets = torch.tensor([2, 0, 1])
    explained = exact_shapley(
        Game(network(seed), features(seed, 3), features(seed + 1, 6), GROUPS, targets)
    )
    assert explained.values.shape == (3, 4)
    np.testing.assert_allclose(explained.gap, 0, atol=1e-12)
    np.testing.assert_allclose(
        explained.output, network(seed)(features(seed, 3))[range(3), targets], atol=1e-12
    )


@settings(max_examples=25)
@given(seeds)
def test_a_player_that_the_function_ignores_gets_nothing(seed):
    inner = network(seed, columns=COLUMNS - len(GROUPS[2]))
    read = [column for column in range(COLUMNS) if column not in GROUPS[2]]
    explained = exact_shapley(
        Game(
            lambda rows: inner(rows[:, read]),
            features(seed, 2),
            features(seed + 1, 5),
            GROUPS,
            torch.tensor([0, 1]),
        )
    )
    np.testing.assert_allclose(explained.values[:, 2], 0, atol=1e-12)
    assert np.abs(explained.values[:, [0, 1, 3]]).min() > 0


@settings(max_examples=25)
@given(seeds)
def test_interchangeable_players_get_the_same(seed):
    inner = network(seed, columns=2)
    rows, background = features(seed, 2, 3), features(seed + 1, 5, 3)
    rows[:, 1], background[:, 1] = rows[:, 0], background[:, 0]
    explained = exact_shapley(
        Game(
            lambda x: inner(torch.stack([x[:, 0] * x[:, 1] + x[:, 0] + x[:, 1], x[:, 2]], dim=1)),
            rows,
            background,
            [[0], [1], [2]],
            torch.tensor([0, 1]),
        )
    )
    np.testing.assert_allclose(explained.values[:, 0], explained.values[:, 1], atol=1e-12)


def test_a_linear_function_gives_weight_times_distance_from_the_background_mean():
    weights = torch.randn(COLUMNS, 2, generator=torch.Generator().manual_seed(0)).double()
    rows, background = features(0, 4), features(1, 9)
    targets = torch.tensor([0, 1, 1, 0])
    explained = exact_shapley(Game(lambda x: x @ weights, rows, background, GROUPS, targets))
    each = (rows - background.mean(dim=0)) * weights[:, targets].T
    expected = torch.stack([each[:, group].sum(dim=1) for group in GROUPS], dim=1)
    np.testing.assert_allclose(explained.values, expected, atol=1e-12)


def test_glove_game():
    """One left and two right gloves, a pair is worth 1: the left one gets 4/6, each right one 1/6."""
    explained = exact_shapley(
        Game(
            lambda x: (x[:, 0] * torch.maximum(x[:, 1], x[:, 2]))[:, None],
            torch.ones(1, 3),
            torch.zeros(1, 3),
            [[0], [1], [2]],
            torch.tensor([0]),
        )
    )
    np.testing.assert_allclose(explained.values, [[4 / 6, 1 / 6, 1 / 6]], atol=1e-12)


@pytest.mark.parametrize("groups", [GROUPS, [[column] for column in range(COLUMNS)]])
def test_enumeration_equals_the_kernel_explainer_with_all_coalitions(groups):
    game = Game(network(3), features(3, 4), features(4, 10), groups, torch.tensor([0, 1, 2, 1]))
    ours, peer = exact_shapley(game), kernel_shapley(game)
    np.testing.assert_allclose(ours.values, peer.values, atol=1e-6)
    np.testing.assert_array_equal(ours.base, peer.base)


def test_batches_do_not_change_the_result(monkeypatch):
    game = Game(network(5), features(5, 2), features(6, 10), GROUPS, torch.tensor([0, 2]))
    large = exact_shapley(game)
    monkeypatch.setattr(coalitions, "BATCH_ROWS", 30)
    small = exact_shapley(game)
    np.testing.assert_allclose(small.values, large.values, atol=1e-12)


def test_sampled_coalitions_follow_the_seed_and_leave_numpys_generator_alone():
    groups = [[column] for column in range(8)]
    game = Game(network(0, 8), features(0, 1, 8), features(1, 4, 8), groups, torch.tensor([0]))
    np.random.seed(7)
    expected = np.random.rand()
    np.random.seed(7)
    first = kernel_shapley(game, max_coalitions=60, seed=1)
    assert np.random.rand() == expected
    again = kernel_shapley(game, max_coalitions=60, seed=1)
    other = kernel_shapley(game, max_coalitions=60, seed=2)
    np.testing.assert_array_equal(first.values, again.values)
    assert (first.values != other.values).any()
    np.testing.assert_allclose(other.gap, 0, atol=1e-9)


def test_weights_of_three_players():
    weights = shapley_weights(3)
    np.testing.assert_allclose(weights[0], [-1 / 3] * 3)  # nobody
    np.testing.assert_allclose(weights[1], [1 / 3, -1 / 6, -1 / 6])  # the first player alone
    np.testing.assert_allclose(weights[7], [1 / 3] * 3)  # everybody


@pytest.mark.parametrize("groups", [[[0], [1]], [[0, 1], [1, 2]], [[0, 0], [1, 2]]])
def test_groups_that_are_no_partition_are_refused(groups):
    with pytest.raises(ValueError, match="exactly once"):
        Game(network(0, 3), features(0, 1, 3), features(1, 2, 3), groups, torch.tensor([0]))


def test_too_many_players_are_refused():
    groups = [[column] for column in range(17)]
    game = Game(network(0, 17), features(0, 1, 17), features(1, 2, 17), groups, torch.tensor([0]))
    with pytest.raises(ValueError, match="16 at most"):
        exact_shapley(game)


@settings(max_examples=25)
@given(seeds, st.floats(-3, 3), st.floats(-3, 3))
def test_a_sum_of_functions_gets_the_sum_of_their_values(seed, first, second):
    one, other = network(seed), network(seed + 1)
    given = features(seed, 2), features(seed + 1, 5), GROUPS, torch.tensor([0, 2])
    both = exact_shapley(Game(lambda x: first * one(x) + second * other(x), *given)).values
    apart = [exact_shapley(Game(function, *given)).values for function in (one, other)]
    np.testing.assert_allclose(both, first * apart[0] + second * apart[1], atol=1e-10)


def test_interactions_of_a_product_are_shared_by_its_pair():
    """x0 x1 + x2 from a background of zeros: the pair's index is 1, and half of it stands in either entry."""
    explained = shapley_interactions(
        Game(
            lambda x: (x[:, 0] * x[:, 1] + x[:, 2])[:, None],
            torch.ones(1, 3),
            torch.zeros(1, 3),
            [[0], [1], [2]],
            torch.tensor([0]),
        )
    )
    np.testing.assert_allclose(
        explained.values, [[[0, 0.5, 0], [0.5, 0, 0], [0, 0, 1]]], atol=1e-12
    )
    assert explained.gap == pytest.approx(0)


def test_three_players_that_need_each_other_have_indices_of_a_half():
    """v = 1 for all three alone: the index of a pair weighs its two rests by 1/2 each, and only one gives 1."""
    weights = interaction_weights(3)
    worths = np.zeros((1, 8))
    worths[0, 7] = 1
    found = np.tensordot(worths, weights, axes=1)[0]
    np.testing.assert_allclose(2 * (found - np.diag(np.diag(found))), 0.5 * (1 - np.eye(3)))


@settings(max_examples=25)
@given(seeds)
def test_interactions_are_symmetric_and_add_up_to_shapley_values(seed):
    given = network(seed), features(seed, 2), features(seed + 1, 5), GROUPS, torch.tensor([0, 1])
    game = Game(*given)
    found = shapley_interactions(game)
    np.testing.assert_allclose(found.values, found.values.transpose(0, 2, 1), atol=1e-12)
    np.testing.assert_allclose(found.values.sum(axis=2), exact_shapley(game).values, atol=1e-12)
    np.testing.assert_allclose(found.gap, 0, atol=1e-12)


def test_a_single_player_has_all_and_interacts_with_nobody():
    given = network(0), features(0, 1), features(1, 4), [range(COLUMNS)], torch.tensor([0])
    found = shapley_interactions(Game(*given))
    np.testing.assert_allclose(found.values[:, 0, 0], found.output - found.base, atol=1e-12)


def singles(columns: int) -> list[list[int]]:
    return [[column] for column in range(columns)]


def test_a_game_of_pairs_is_exact_without_error():
    """With one background row, x A x has interactions of two players and no more; 20 players."""
    matrix = torch.randn(20, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows, background = features(0, 3, 20), features(1, 1, 20)
    game = Game(
        lambda x: ((x @ matrix) * x).sum(dim=1, keepdim=True),
        rows,
        background,
        singles(20),
        torch.zeros(3, dtype=torch.long),
    )
    explained = permutation_shapley(game, max_coalitions=100)
    step = rows - background
    expected = step * ((rows + background) / 2 @ (matrix + matrix.T))
    np.testing.assert_allclose(explained.values, expected, atol=1e-10)
    np.testing.assert_allclose(explained.standard_error, 0, atol=1e-10)
    np.testing.assert_allclose(explained.gap, 0, atol=1e-10)


def test_estimates_add_up_and_are_within_their_error_bars():
    weights = torch.randn(8, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    game = Game(
        lambda x: (3 * x @ weights).softmax(dim=1),
        features(2, 12, 8),
        features(3, 6, 8),
        singles(8),
        torch.arange(12) % 2,
    )
    exact = exact_shapley(game).values
    errors, typical = [], []
    for seed in range(20):
        found = permutation_shapley(game, max_coalitions=400, seed=seed)
        np.testing.assert_allclose(found.gap, 0, atol=1e-10)
        errors.append((found.values - exact) / found.standard_error)
        typical.append(found.standard_error)
    assert 0.8 < np.sqrt(np.mean(np.square(errors))) < 1.3  # standard errors are the spread
    assert abs(np.mean(errors)) < 0.15
    assert np.mean(typical) > 1e-4  # far from exact


def test_the_seed_decides():
    game = Game(
        lambda x: x.prod(dim=1, keepdim=True),
        features(0, 2, 18),
        features(1, 3, 18),
        singles(18),
        torch.zeros(2, dtype=torch.long),
    )
    first, again, other = (permutation_shapley(game, 200, seed).values for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_too_few_coalitions_for_an_error_bar_are_refused():
    given = features(0, 1, 18), features(1, 3, 18), singles(18), torch.tensor([0])
    game = Game(lambda x: x, *given)
    with pytest.raises(ParameterError, match="at least 70"):
        permutation_shapley(game, max_coalitions=69)
    assert permutation_shapley(game, max_coalitions=70).values.shape == (1, 18)
