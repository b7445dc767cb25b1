"""Sampled Shapley values against exact ones, and games for which antithetic pairs are exact."""

import numpy as np
import pytest
import torch

from glasshead.errors import ParameterError
from glasshead.explainers.coalitions import Game
from glasshead.explainers.permutation_shapley import permutation_shapley
from glasshead.explainers.shapley import exact_shapley


def features(seed: int, rows: int, columns: int) -> torch.Tensor:
    return torch.rand(
        rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


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
    with pytest.raises(ParameterError, match="take 70 at least"):
        permutation_shapley(game, max_coalitions=69)
    assert permutation_shapley(game, max_coalitions=70).values.shape == (1, 18)
