"""The three ways to train a bottleneck, told apart by what each may and may not touch; early stopping by hand."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from glasshead.models.heads import Bottleneck
from glasshead.training import bottleneck as module
from glasshead.training.bottleneck import (
    BottleneckData,
    BottleneckTraining,
    _noisy,
    subtask_loss,
    train_bottleneck,
    true_codes,
)

WIDTHS = (2, 3)


def rows(n=120, seed=0):
    """Return rows whose class (of 6) is told by two targets, each plain in the embedding."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.stack([torch.randint(0, w, (n,), generator=generator) for w in WIDTHS], dim=1)
    noise = 0.3 * torch.randn(n, 5, generator=generator)
    return BottleneckData(
        true_codes(targets, WIDTHS) + noise, targets, targets @ torch.tensor([3, 1])
    )


def model():
    torch.manual_seed(3)
    return Bottleneck(5, WIDTHS, 6, hidden=8, meta_hidden=8)


def fit(mode, seed=0, train=None, validation=None, **changes):
    fitted = model()
    defaults = {"epochs": 8, "batch_size": 32, "learning_rate": 0.02, "embedding_noise": 0.0}
    params = BottleneckTraining(**({"mode": mode} | defaults | changes))
    history = train_bottleneck(fitted, train or rows(), validation or rows(60, 1), params, seed)
    return fitted, history


def same(a, b):
    return all(torch.equal(a.state_dict()[name], b.state_dict()[name]) for name in a.state_dict())


@pytest.fixture
def after_phases(monkeypatch):
    """Return the list that gets a copy of the model at the end of each phase."""
    snapshots, original = [], module._fit_phase

    def watched(model, *arguments):
        original(model, *arguments)
        snapshots.append(copy.deepcopy(model))

    monkeypatch.setattr(module, "_fit_phase", watched)
    return snapshots


class TestLosses:
    def test_the_subtask_loss_is_the_sum_of_the_subtasks_cross_entropies(self):
        logits = torch.tensor([[0.0, math.log(3), 0.0, 0.0, math.log(2)]])
        targets = torch.tensor([[1, 0]])
        expected = -math.log(3 / 4) - math.log(1 / 4)
        assert subtask_loss(model(), logits, targets).item() == pytest.approx(expected)

    def test_true_codes_stand_side_by_side(self):
        targets = torch.tensor([[1, 0], [0, 2]])
        assert true_codes(targets, WIDTHS).tolist() == [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]]

    @pytest.mark.parametrize("weight", [0.0, 0.1, 2.0])
    def test_the_joint_loss_is_the_final_plus_weighted_subtasks(self, weight):
        fitted, history = fit("joint", epochs=1, auxiliary_weight=weight)
        data = rows(60, 1)
        logits = fitted.concept_logits(data.embeddings)
        first, second = logits.split(WIDTHS, dim=1)
        parts = F.cross_entropy(first, data.targets[:, 0]) + F.cross_entropy(
            second, data.targets[:, 1]
        )
        final = F.cross_entropy(fitted(data.embeddings), data.labels)
        assert history[0]["validation_loss"] == pytest.approx(
            (final + weight * parts).item(), rel=1e-5
        )


class TestModes:
    @pytest.mark.parametrize("mode", ["joint", "sequential", "independent"])
    def test_each_learns_what_is_plain(self, mode):
        fitted, history = fit(mode, epochs=30)
        data = rows(200, 2)
        assert (fitted(data.embeddings).argmax(dim=1) == data.labels).float().mean() > 0.8
        assert [row["epoch"] for row in history] == list(range(1, len(history) + 1))
        phases = ["joint"] if mode == "joint" else ["heads", "meta"]
        assert list(dict.fromkeys(row["phase"] for row in history)) == phases

    @pytest.mark.parametrize("mode", ["sequential", "independent"])
    def test_each_phase_touches_its_own_part_alone(self, mode, after_phases):
        fit(mode)
        start, (heads_done, meta_done) = model(), after_phases
        assert same(heads_done.meta, start.meta)
        assert not same(heads_done.heads, start.heads)
        assert same(meta_done.heads, heads_done.heads)
        assert not same(meta_done.meta, heads_done.meta)

    def test_joint_training_reaches_the_heads_through_the_final_loss_alone(self):
        fitted, _ = fit("joint", auxiliary_weight=0.0, weight_decay=0.0)
        assert not same(fitted.heads, model().heads)

    def test_heads_of_sequential_and_independent_are_the_same_and_see_no_label(self, after_phases):
        fit("sequential")
        fit("independent")
        train = rows()
        wrong = BottleneckData(train.embeddings, train.targets, torch.zeros_like(train.labels))
        fit("sequential", train=wrong)
        sequential, independent, unlabelled = after_phases[0], after_phases[2], after_phases[4]
        assert same(sequential.heads, independent.heads)
        assert same(sequential.heads, unlabelled.heads)

    def test_the_meta_learner_reads_true_codes_only_when_independent(self, monkeypatch):
        """Embeddings of zero leave the heads nothing to say; only true codes then tell the classes."""
        blank = [
            BottleneckData(torch.zeros(len(d), 5), d.targets, d.labels)
            for d in (rows(), rows(60, 1))
        ]
        found = {}
        for mode in ("sequential", "independent"):
            _, history = fit(mode, train=blank[0], validation=blank[1], epochs=30)
            found[mode] = min(r["validation_loss"] for r in history if r["phase"] == "meta")
        assert found["independent"] < 0.3
        assert found["sequential"] > 1.5  # log 6 = 1.79 is to know nothing

    def test_a_seed_gives_the_same_weights_and_another_gives_others(self):
        (first, history), (second, again), (third, _) = (fit("joint", seed) for seed in (0, 0, 1))
        assert same(first, second)
        assert history == again
        assert not same(first, third)

    def test_its_arguments_stay_as_they_are(self):
        train, before = rows(), rows()
        fit("joint", train=train)
        assert torch.equal(train.embeddings, before.embeddings)


class TestEarlyStopping:
    def test_it_ends_after_patience_epochs_without_a_better_loss_at_the_best_weights(self):
        """A validation set of wrong labels only gets worse with every epoch that learns the right ones."""
        held = rows(60, 1)
        wrong = BottleneckData(held.embeddings, held.targets, (held.labels + 1) % 6)
        fitted, history = fit("joint", validation=wrong, patience=3, epochs=50)
        losses = [row["validation_loss"] for row in history]
        best = losses.index(min(losses))
        assert len(losses) == best + 1 + 3 < 50
        logits = fitted.concept_logits(wrong.embeddings)
        final = F.cross_entropy(fitted(wrong.embeddings), wrong.labels)
        kept = final + 0.1 * subtask_loss(fitted, logits, wrong.targets)
        assert kept.item() == pytest.approx(losses[best], rel=1e-6)

    def test_patience_begins_anew_in_the_second_phase(self):
        held = rows(60, 1)
        wrong = BottleneckData(
            held.embeddings, 1 - held.targets.clamp(max=1), (held.labels + 1) % 6
        )
        _, history = fit("sequential", validation=wrong, patience=2, epochs=40)
        assert {row["phase"] for row in history} == {"heads", "meta"}
        assert sum(row["phase"] == "meta" for row in history) > 2

    def test_without_a_worse_epoch_all_are_run(self):
        _, history = fit("joint", epochs=4, learning_rate=1e-3)
        assert len(history) == 4


class TestNoise:
    def test_its_deviation_is_that_of_each_dimension(self):
        """Over many draws: as many times each dimension's own standard deviation as asked for, around the embedding."""
        deviation = torch.tensor([0.0, 0.5, 3.0])
        batch = BottleneckData(
            torch.ones(20_000, 3),
            torch.zeros(20_000, 1, dtype=torch.long),
            torch.zeros(20_000, dtype=torch.long),
        )
        noisy = _noisy(batch, deviation, torch.Generator().manual_seed(0))
        assert torch.allclose(noisy.embeddings.mean(dim=0), torch.ones(3), atol=0.1)
        assert torch.allclose(noisy.embeddings.std(dim=0), deviation, rtol=0.02)
        assert noisy.labels is batch.labels


class TestHistory:
    def test_the_train_loss_is_a_mean_over_rows_not_over_batches(self, monkeypatch):
        """100 rows in batches of 64 and 36: with a rate of nearly zero the loss is that of the whole set."""
        train = rows(100)
        _, history = fit(
            "joint",
            train=train,
            epochs=1,
            batch_size=64,
            learning_rate=1e-12,
            weight_decay=0,
            embedding_noise=0,
        )
        start = model()
        logits = start.concept_logits(train.embeddings)
        final = F.cross_entropy(start(train.embeddings), train.labels)
        expected = final + 0.1 * subtask_loss(start, logits, train.targets)
        assert history[0]["train_loss"] == pytest.approx(expected.item(), rel=1e-5)

    def test_the_accuracy_is_that_of_the_whole_bottleneck_on_validation(self):
        fitted, history = fit("joint", epochs=1)
        data = rows(60, 1)
        right = (fitted(data.embeddings).argmax(dim=1) == data.labels).float().mean()
        assert history[0]["validation_accuracy"] == pytest.approx(right.item())


@pytest.mark.parametrize(
    "wrong",
    [{"mode": "greedy"}, {"epochs": 0}, {"auxiliary_weight": -1}, {"patience": 0}, {"lr": 1}],
)
def test_a_mistyped_parameter_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BottleneckTraining(**wrong)
