"""Confused pairs that are planted, and draws against their expected counts."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glasshead.training.mining import (
    MiningParams,
    confused_pairs,
    draw_order,
    draw_rows,
    sampling_weights,
)

CONFUSION = torch.tensor([[90, 10, 0, 0], [0, 50, 0, 0], [0, 0, 6, 4], [0, 0, 0, 0]])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_pairs_go_by_rate_not_by_count_and_a_class_without_rows_counts_nothing():
    assert confused_pairs(CONFUSION, 5) == [(2, 3), (0, 1)]
    assert confused_pairs(CONFUSION, 1) == [(2, 3)]


def test_both_directions_add_up():
    confusion = torch.tensor([[7, 2, 1], [2, 8, 0], [0, 0, 10]])
    assert confused_pairs(confusion, 2) == [(0, 1), (0, 2)]


def test_a_perfect_validation_mines_nothing():
    assert confused_pairs(torch.eye(3, dtype=torch.long), 3) == []
    labels = torch.tensor([0, 1, 2])
    weights = sampling_weights(labels, torch.eye(3, dtype=torch.long), MiningParams())
    assert weights.tolist() == [1, 1, 1]


def test_rows_of_confused_classes_weigh_more():
    labels = torch.tensor([0, 1, 2, 3, 0])
    weights = sampling_weights(labels, CONFUSION, MiningParams(pairs=1, weight=3))
    assert weights.tolist() == [1, 1, 3, 3, 1]


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=60), st.integers(0, 99))
def test_a_row_is_drawn_its_share_rounded_up_or_down(values, seed):
    weights = torch.tensor(values, dtype=torch.float64)
    rows = draw_rows(weights, seeded(seed))
    n = len(values)
    assert len(rows) == n
    expected = n * weights / weights.sum()
    counts = torch.bincount(rows, minlength=n)
    assert ((counts - expected).abs() < 1 + 1e-6).all()


def test_draws_are_unbiased():
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    rows = torch.cat([draw_rows(weights, seeded(seed)) for seed in range(4000)])
    fractions = torch.bincount(rows).double() / len(rows)
    torch.testing.assert_close(fractions, weights.double() / 10, atol=0.01, rtol=0)


@given(st.integers(1, 200), st.integers(0, 99))
def test_equal_weights_give_a_permutation(n, seed):
    assert draw_rows(torch.ones(n), seeded(seed)).sort().values.tolist() == list(range(n))


def test_an_epoch_is_mined_only_where_there_is_a_confusion():
    labels = torch.arange(400) % 4
    plain = draw_order(labels, 5, None, CONFUSION.tolist())
    assert torch.equal(plain, draw_order(labels, 5, MiningParams(), None))
    assert plain.sort().values.tolist() == list(range(400))
    mined = draw_order(labels, 5, MiningParams(pairs=1, weight=3), CONFUSION.tolist())
    assert torch.bincount(labels[mined]).tolist() == pytest.approx([50, 50, 150, 150], abs=20)


@pytest.mark.parametrize("wrong", [{"pairs": 0}, {"weight": 1.0}, {"strength": 1}])
def test_a_mistyped_parameter_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MiningParams(**wrong)
