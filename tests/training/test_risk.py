"""Training of a risk head on planted features: the risk is a direction that stands in some places of risky images."""

import logging

import numpy as np
import pytest
import torch

from glasshead.errors import TrainingError
from glasshead.models.risk import POOLINGS, RiskHead, RiskHeadParams
from glasshead.training.optimisers import OptimiserParams
from glasshead.training.risk import (
    RiskRows,
    RiskTraining,
    channel_moments,
    draw_order,
    risk_outputs,
    train_risk_head,
)
from glasshead.training.risk_advice import advise, within_fraction
from glasshead.training.risk_losses import RiskLossWeights

D, SIDE, BATCH = 6, 5, 32
PARAMS = RiskTraining(
    epochs=12,
    batch_size=BATCH,
    optimiser=OptimiserParams(name="adamw", learning_rate=0.05, weight_decay=0.0),
)


def planted(n: int, seed: int, fraction: float = 0.5) -> tuple[RiskRows, np.ndarray]:
    """Return rows of noise, in risky ones of which one place has the risk, and that place (row, column)."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, D, SIDE, SIDE))
    labels = rng.random(n) < fraction
    places = rng.integers(SIDE, size=(n, 2))
    for row in np.flatnonzero(labels):
        features[row, :2, places[row, 0], places[row, 1]] += 4
    values = torch.from_numpy((3 * features + 1).astype(np.float32))
    taken = RiskRows(
        lambda rows: values[torch.from_numpy(rows)],
        torch.from_numpy(labels[:, None].astype(np.float32)),
    )
    return taken, places


def train(pooling="top_k_mean", params=PARAMS, seed=0, train_rows=None):
    torch.manual_seed(seed)
    head = RiskHead(D, 1, RiskHeadParams(pooling=pooling, top_fraction=0.04, spread=0))
    rows = train_rows or planted(300, 0)[0]
    history = train_risk_head(
        head, rows, planted(100, 1)[0], params, seed, lambda maps: {"iou": None}
    )
    return head, history


@pytest.mark.parametrize("pooling", POOLINGS)
def test_it_finds_the_risk_and_its_place(pooling):
    head, history = train(pooling)
    rows, places = planted(200, 2)
    maps = risk_outputs(head, rows, BATCH).maps
    risky = rows.labels[:, 0].numpy() > 0.5
    found = np.stack(np.divmod(maps[:, 0].flatten(1).argmax(dim=1).numpy(), SIDE), axis=1)
    assert (found == places).all(axis=1)[risky].mean() > 0.9
    assert (
        max(row["validation_auroc"] for row in history) > 0.75
    )  # chance is 0.5; an average sees 1 place of 25


def test_the_log_has_what_happened_each_epoch():
    head, history = train()
    assert [row["epoch"] for row in history] == list(range(1, 13))
    losses = [
        f"{split}_{name}"
        for split in ("train", "validation")
        for name in ("bce", "ranking", "patch", "loss")
    ]
    named = {*losses, "epoch", "train_gap", "learning_rate"}
    named |= {f"validation_{name}" for name in ("gap", "auroc", "auprc", "iou")}
    assert set(history[0]) == named
    assert history[0]["train_loss"] == pytest.approx(
        sum(history[0][f"train_{name}"] for name in ("bce", "ranking", "patch")), rel=1e-5
    )
    assert history[-1]["validation_gap"] > history[0]["validation_gap"]
    assert not head.training


def test_the_weights_are_those_of_the_best_validation_loss():
    params = PARAMS.model_copy(
        update={
            "losses": RiskLossWeights(bce=1, ranking=0, patch=0),
            "optimiser": OptimiserParams(name="adamw", learning_rate=1.0, weight_decay=0.0),
        }
    )
    head, history = train(params=params)
    rows, _ = planted(100, 1)
    logits = risk_outputs(head, rows, BATCH).logits
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, rows.labels).item()
    assert loss == pytest.approx(min(row["validation_loss"] for row in history), rel=1e-5)


def test_a_seed_gives_the_same_weights_again():
    first, second, other = train(seed=3)[0], train(seed=3)[0], train(seed=4)[0]
    for name, value in first.state_dict().items():
        torch.testing.assert_close(value, second.state_dict()[name], rtol=0, atol=0)
    assert not torch.equal(first.to_maps.weight, other.to_maps.weight)


def test_moments_are_those_of_all_places():
    rows, _ = planted(70, 0)
    values = rows.take(np.arange(70)).transpose(0, 1).flatten(1)
    mean, deviation = channel_moments(rows, BATCH)
    torch.testing.assert_close(mean, values.mean(dim=1))
    torch.testing.assert_close(deviation, values.std(dim=1, correction=0))


def test_features_that_are_not_finite_stop_it():
    rows = RiskRows(lambda rows: torch.full((len(rows), D, SIDE, SIDE), 1e38), torch.eye(2)[:, :1])
    with pytest.raises(TrainingError, match="not finite in epoch 1"):
        train(train_rows=rows)


def test_each_row_comes_once_in_an_order_of_the_epoch():
    labels = torch.zeros(50, 1)
    orders = [draw_order(labels, "none", 0, epoch) for epoch in (0, 1)]
    assert [sorted(order) for order in orders] == [list(range(50))] * 2
    assert (orders[0] != orders[1]).any()


def test_balanced_draws_have_each_rare_risk_in_half_of_its_fraction():
    labels = torch.zeros(4000, 2)
    labels[:40, 0], labels[40:200, 1] = 1, 1
    drawn = labels[draw_order(labels, "balanced", 0, 0)].mean(dim=0)
    # Half of the draws balance either risk: 1/2 · 1/2, and what the other's draws bring along.
    assert drawn[0].item() == pytest.approx(0.25 + 0.5 * 0.5 * 40 / 3840, abs=0.03)
    single = labels[draw_order(labels[:, :1], "balanced", 0, 0), 0].mean().item()
    assert single == pytest.approx(0.5, abs=0.03)


class TestAdvice:
    labels = torch.tensor([[1.0]] * 20 + [[0.0]] * 20)

    def lines(self, logits, maps, labels=None, params=PARAMS):
        return advise(("road",), logits, maps, self.labels if labels is None else labels, params)

    def test_a_good_training_needs_none(self):
        head, _ = train()
        found = risk_outputs(head, planted(100, 1)[0], BATCH)
        assert self.lines(found.logits, found.activations) == []

    def test_collapse(self):
        [line] = self.lines(torch.full((9, 1), 0.3), torch.randn(9, 1, 4, 4))
        assert "collapse" in line

    def test_flat_maps_ask_for_more_patch_loss(self):
        level = torch.randn(50, 1, 1, 1)
        [line] = self.lines(level[:, :, 0, 0], level + 0.05 * torch.randn(50, 1, 4, 4))
        assert "flat maps" in line
        assert "risk.training.losses.patch" in line

    def test_a_rare_risk_asks_for_resampling_unless_that_is_on(self):
        labels = torch.zeros(100, 1)
        labels[:2] = 1
        shown = torch.randn(50, 1), torch.randn(50, 1, 4, 4)
        [line] = self.lines(*shown, labels)
        assert "2.0%" in line
        assert "risk.training.resample=balanced" in line
        assert not self.lines(*shown, labels, PARAMS.model_copy(update={"resample": "balanced"}))


@pytest.mark.parametrize(("noise", "expected"), [(0.0, 0.0), (1.0, 0.5)])
def test_the_share_of_variance_within_maps(noise, expected):
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(4000, 1, 1)) + noise * rng.normal(size=(4000, 10, 10))
    assert within_fraction(maps) == pytest.approx(expected, abs=0.02)


def test_the_log_is_quiet(caplog):
    with caplog.at_level(logging.WARNING):
        train()
    assert not caplog.records
