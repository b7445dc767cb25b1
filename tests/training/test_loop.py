"""The loop on a tiny network: it learns, reports, selects, resumes to the bit, and fails in words."""

import itertools
import json
import logging
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from glasshead.errors import ParameterError, TrainingError
from glasshead.training.batches import StreamedBatches, TensorBatches
from glasshead.training.checkpoint import CheckpointFolder
from glasshead.training.history import History
from glasshead.training.loop import fit
from glasshead.training.params import TrainingParams
from glasshead.training.phases import ParameterGroup, Phase

CLASSES = 3


def coloured(rows: int, seed: int = 0, shift: int = 80) -> TensorBatches:
    """Return noise of 8 x 8 pixels whose class is the channel that is `shift` brighter."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (rows,), generator=generator)
    images = torch.randint(0, 150, (rows, 3, 8, 8), generator=generator, dtype=torch.uint8)
    images[torch.arange(rows), labels] += shift
    return TensorBatches(images, labels)


def network(dropout: float = 0.2, seed: int = 0) -> nn.Module:
    """Return a network of a filter, a batch norm, a hidden matrix, dropout and a head."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 8),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(8, CLASSES),
        )


def two_phases(epochs: int = 2) -> tuple[Phase, Phase]:
    """Return a phase for the head of `network`, then one for all but its filter's bias, the head at a higher rate."""
    head = ("8.weight", "8.bias")
    rest = ("0.weight", "1.weight", "1.bias", "5.weight", "5.bias")
    return (
        Phase("head", epochs, (ParameterGroup(head),)),
        Phase("rest", epochs, (ParameterGroup(head), ParameterGroup(rest, 0.1))),
    )


def noisy(images: Tensor, labels: Tensor, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
    """Return images with noise from `seed` and one-hot targets."""
    generator = torch.Generator().manual_seed(seed)
    noise = 0.05 * torch.randn(images.shape, generator=generator)
    return (images / 255 + noise).clamp(0, 1), nn.functional.one_hot(labels, CLASSES).float()


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    """Return whether all tensors of two modules agree to the bit."""
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


TRAIN, VALIDATION = coloured(75), coloured(30, seed=1)


def trained(model: nn.Module | None = None, seed: int = 0, params: dict | None = None, **settings):
    """Return the trained network and its history."""
    model = model or network()
    chosen = TrainingParams(**{"epochs": 2, "batch_size": 16} | (params or {}))
    return model, fit(model, TRAIN, VALIDATION, chosen, seed, device="cpu", **settings)


def curves(history: History) -> tuple[list, list, int]:
    """Return all of a history that two runs must share."""
    epochs = [{key: row[key] for key in row if key != "seconds"} for row in history.epochs]
    return epochs, history.steps, history.best_epoch


class TestLearning:
    @pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_it_learns_what_is_easy(self, name, precision):
        params = {
            "epochs": 15,
            "optimiser": {"name": name, "learning_rate": 0.05},
            "precision": precision,
        }
        model, history = trained(params=params, augmentation=noisy)
        assert history.epochs[-1]["validation_accuracy"] > 0.85
        assert history.epochs[-1]["train_loss"] < 0.6 * history.epochs[0]["train_loss"]
        assert not model.training

    @pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
    def test_every_parameter_moves(self, name):
        before = network().state_dict()
        after = trained(params={"optimiser": {"name": name}})[0].state_dict()
        # a bias before a batch norm has no gradient
        still = {key for key in before if torch.equal(before[key], after[key])}
        assert still <= {"0.bias"}

    def test_a_step_is_pytorchs(self):
        """One step over all rows, against the same written out."""
        ours, peer = network(dropout=0), network(dropout=0)
        params = TrainingParams(
            epochs=1,
            batch_size=75,
            optimiser={"learning_rate": 0.1, "weight_decay": 0},
            schedule={"name": "constant", "warmup_fraction": 0},
            label_smoothing=0.1,
            clip_norm=0.01,
        )
        history = fit(ours, TRAIN, VALIDATION, params, 0, device="cpu")
        optimiser = torch.optim.SGD(peer.parameters(), 0.1, momentum=0.9, nesterov=True)
        loss = nn.CrossEntropyLoss(label_smoothing=0.1)(peer(TRAIN.images / 255), TRAIN.labels)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(peer.parameters(), 0.01)
        optimiser.step()
        (row,) = history.steps
        assert row["loss"] == pytest.approx(loss.item(), rel=1e-5)
        assert row["gradient_norm"] == pytest.approx(norm.item(), rel=1e-4)
        for name, value in ours.state_dict().items():
            torch.testing.assert_close(value, peer.state_dict()[name], rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize(
        ("weights", "fractions"),
        [(None, [0.6, 0.3, 0.1]), ("balanced", [1 / 3] * 3), ((1, 2, 3), [6 / 15, 6 / 15, 3 / 15])],
    )
    def test_images_that_tell_nothing_give_the_weighted_fractions_of_the_classes(
        self, weights, fractions
    ):
        """Validation, which selects and is not weighted, has the classes in just these fractions."""
        train, validation = (
            TensorBatches(
                torch.zeros(len(labels), 3, 8, 8, dtype=torch.uint8), torch.tensor(labels)
            )
            for labels in (
                [0] * 6 + [1] * 3 + [2],
                [k for k in range(CLASSES) for _ in range(round(30 * fractions[k]))],
            )
        )
        model = nn.Sequential(nn.Flatten(), nn.Linear(192, CLASSES))
        params = TrainingParams(
            epochs=100, class_weights=weights, optimiser={"learning_rate": 0.5, "momentum": 0}
        )
        fit(model, train, validation, params, 0, device="cpu")
        probabilities = model[1].bias.detach().softmax(dim=0).tolist()
        assert probabilities == pytest.approx(fractions, abs=0.01)

    def test_channels_last_and_streaming_change_little_and_nothing(self):
        plain, history = trained()
        streamed = network()
        source = StreamedBatches(lambda rows: TRAIN.images[rows], TRAIN.labels)
        params = TrainingParams(epochs=2, batch_size=16)
        again = fit(streamed, source, VALIDATION, params, 0, device="cpu")
        assert same_weights(plain, streamed)
        assert curves(history) == curves(again)
        last, _ = trained(params={"channels_last": True})
        for name, value in last.state_dict().items():
            torch.testing.assert_close(value, plain.state_dict()[name], rtol=1e-3, atol=1e-4)


class TestHistory:
    def test_its_rows_are_consistent(self):
        _, history = trained(
            params={"epochs": 3, "schedule": {"name": "triangular"}}, phases=two_phases()
        )
        assert [row["epoch"] for row in history.epochs] == [1, 2, 3, 4]
        assert [row["phase"] for row in history.epochs] == ["head", "head", "rest", "rest"]
        assert [row["step"] for row in history.steps] == list(range(1, 17))
        assert [row["images_seen"] for row in history.epochs] == [64, 128, 192, 256]
        for number, row in enumerate(history.epochs):
            steps = history.steps[4 * number : 4 * number + 4]
            for key, mean in (
                ("loss", "train_loss"),
                ("accuracy", "train_accuracy"),
                ("gradient_norm", "gradient_norm"),
            ):
                assert row[mean] == pytest.approx(sum(step[key] for step in steps) / 4)
            assert row["learning_rate"] == steps[-1]["learning_rate"]
        rates = [row["learning_rate"] for row in history.steps]
        assert rates[:8] == rates[8:]
        assert max(rates) == 0.05
        seconds = [row["seconds"] for row in history.epochs]
        assert all(a < b for a, b in itertools.pairwise(seconds))

    def test_the_best_weights_are_kept(self):
        model, history = trained(params={"epochs": 6, "optimiser": {"learning_rate": 0.5}})
        losses = [row["validation_loss"] for row in history.epochs]
        assert history.best_epoch == 1 + losses.index(min(losses))
        with torch.no_grad():
            logits = model(VALIDATION.images / 255).double()
        loss = nn.functional.cross_entropy(logits, VALIDATION.labels).item()
        assert loss == pytest.approx(min(losses), rel=1e-5)

    def test_accuracy_can_select(self):
        _, history = trained(
            params={
                "epochs": 6,
                "optimiser": {"learning_rate": 0.5},
                "select_by": "validation_accuracy",
            }
        )
        accuracies = [row["validation_accuracy"] for row in history.epochs]
        assert history.best_epoch == 1 + accuracies.index(max(accuracies))

    def test_averaged_weights_are_validated_and_kept(self):
        plain, _ = trained(params={"epochs": 1})
        averaged, history = trained(params={"epochs": 1, "ema_decay": 0.9})
        assert not same_weights(plain, averaged)
        assert torch.equal(plain[1].running_mean, averaged[1].running_mean)
        with torch.no_grad():
            logits = averaged(VALIDATION.images / 255).double()
        loss = nn.functional.cross_entropy(logits, VALIDATION.labels).item()
        assert loss == pytest.approx(history.epochs[0]["validation_loss"], rel=1e-5)

    def test_patience_ends_each_phase(self):
        _, history = trained(
            params={
                "patience": 2,
                "optimiser": {"learning_rate": 1e-12},
                "select_by": "validation_accuracy",
            },
            phases=[Phase(name, 9, two_phases()[0].groups) for name in "ab"],
        )  # the accuracy never changes, so that the first epoch stays the best
        assert [row["phase"] for row in history.epochs] == ["a", "a", "a", "b", "b"]
        assert history.best_epoch == 1

    def test_every_epoch_draws_its_rows_once_and_anew(self):
        seen = []

        def noting(images: Tensor, labels: Tensor, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
            seen.append(images)
            return noisy(images, labels, seed, epoch)

        trained(params={"batch_size": 25}, augmentation=noting)
        epochs = [torch.cat(seen[:3]), torch.cat(seen[3:])]
        ids = [sorted(map(bytes, epoch.flatten(1).numpy())) for epoch in epochs]
        assert ids[0] == ids[1] == sorted(map(bytes, TRAIN.images.flatten(1).numpy()))
        assert not torch.equal(*epochs)

    def test_augmentation_is_told_the_epoch_over_all_phases(self):
        told = []

        def noting(images: Tensor, labels: Tensor, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
            told.append(epoch)
            return noisy(images, labels, seed, epoch)

        _, history = trained(phases=two_phases(), augmentation=noting)
        steps = len(told) // len(history.epochs)
        assert told == [epoch for epoch in range(len(history.epochs)) for _ in range(steps)]

    def test_mining_draws_confused_classes_more_often(self):
        drawn = []

        def noting(images: Tensor, labels: Tensor, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
            drawn.append(labels)
            return images / 255, nn.functional.one_hot(labels, CLASSES).float()

        class Confusing(nn.Linear):
            """Takes class 2 for class 1, and changes nothing of that."""

            def forward(self, images: Tensor) -> Tensor:
                right = images.mean(dim=(2, 3)).argmax(dim=1)
                logits = 9.0 * nn.functional.one_hot(torch.where(right == 2, 1, right), CLASSES)
                return logits + 0 * self.weight.sum()

        params = {"batch_size": 75, "mining": {"pairs": 1, "weight": 4}}
        trained(Confusing(1, 1), params=params, augmentation=noting)
        fractions = [torch.bincount(labels, minlength=CLASSES) / 75 for labels in drawn]
        assert fractions[0][0] > 0.25
        assert fractions[1][0] < 0.6 * fractions[0][0]


class TestDeterminism:
    def test_a_seed_gives_the_same_bits_and_another_gives_others(self):
        (first, one), (second, two), (third, three) = (
            trained(seed=seed, augmentation=noisy) for seed in (1, 1, 2)
        )
        assert same_weights(first, second)
        assert curves(one) == curves(two) != curves(three)
        assert not same_weights(first, third)

    def test_it_neither_uses_nor_moves_the_global_generator(self):
        torch.manual_seed(5)
        expected = torch.rand(1)
        first, _ = trained()
        torch.manual_seed(5)
        second, _ = trained()
        assert torch.equal(torch.rand(1), expected)
        assert same_weights(first, second)

    def test_frozen_parameters_stay_and_what_can_be_trained_is_as_before(self):
        before = network().state_dict()
        model, _ = trained(phases=two_phases()[:1])
        changed = {
            key for key, value in model.state_dict().items() if not torch.equal(value, before[key])
        }
        assert changed == {"8.weight", "8.bias"}
        assert all(parameter.requires_grad for parameter in model.parameters())


class Stop(Exception):
    """What interrupts a training."""


RECIPES = st.fixed_dictionaries(
    {
        "optimiser": st.sampled_from(["sgd", "adamw", "muon"]).map(lambda name: {"name": name}),
        "ema_decay": st.sampled_from([None, 0.9]),
        "checkpoint_steps": st.sampled_from([None, 1, 3]),
        "channels_last": st.booleans(),
        "mining": st.sampled_from([None, {"pairs": 1}]),
        "patience": st.sampled_from([None, 1]),
        "schedule": st.sampled_from(["cosine", "one_cycle"]).map(lambda name: {"name": name}),
    }
)


class TestResuming:
    @settings(max_examples=25)
    @given(
        RECIPES,
        st.sampled_from([0.0, 0.3]),
        st.booleans(),
        st.lists(st.integers(0, 15), min_size=1, max_size=3),
    )
    def test_an_interrupted_training_equals_an_uninterrupted_one(
        self, params, dropout, phased, stops
    ):
        """Each number in `stops` is how many steps a try takes before it is interrupted."""
        phases = two_phases() if phased else None
        whole, expected = trained(
            network(dropout), params=params, phases=phases, augmentation=noisy
        )
        with tempfile.TemporaryDirectory() as folder:
            for stop in [*stops, None]:
                left = itertools.repeat(1) if stop is None else iter([1] * stop)

                def interrupted(
                    images: Tensor, labels: Tensor, seed: int, epoch: int, left=left
                ) -> tuple[Tensor, Tensor]:
                    if not next(left, None):
                        raise Stop
                    return noisy(images, labels, seed, epoch)

                model = network(dropout)
                try:
                    _, history = trained(
                        model,
                        params=params,
                        phases=phases,
                        augmentation=interrupted,
                        checkpoints=CheckpointFolder(Path(folder)),
                    )
                except Stop:
                    continue
        assert same_weights(model, whole)
        assert curves(history) == curves(expected)

    @pytest.mark.parametrize(("every", "steps"), [(None, 4), (2, 6), (1, 7)])
    def test_it_goes_on_from_the_last_checkpoint(self, tmp_path, every, steps):
        """A training of 8 steps, 4 an epoch, is stopped in the 8th."""
        taken = []

        def counting(
            images: Tensor, labels: Tensor, seed: int, epoch: int
        ) -> tuple[Tensor, Tensor]:
            taken.append(seed)
            if len(taken) == 8:
                raise Stop
            return noisy(images, labels, seed, epoch)

        settings = {"params": {"checkpoint_steps": every}, "augmentation": counting}
        with pytest.raises(Stop):
            trained(checkpoints=CheckpointFolder(tmp_path), **settings)
        trained(checkpoints=CheckpointFolder(tmp_path), **settings)
        assert taken[8:] == taken[steps:8]

    @pytest.mark.gpu
    @pytest.mark.parametrize("precision", ["auto", "float16", "float32"])
    def test_on_a_gpu_it_learns_and_goes_on_nearly_as_if_nothing_had_been(
        self, tmp_path, precision
    ):
        taken = []

        def counting(
            images: Tensor, labels: Tensor, seed: int, epoch: int
        ) -> tuple[Tensor, Tensor]:
            taken.append(seed)
            if len(taken) == 50:
                raise Stop
            return images / 255, nn.functional.one_hot(labels, CLASSES).float()

        params = TrainingParams(
            epochs=15,
            batch_size=16,
            precision=precision,
            channels_last=True,
            ema_decay=0.9,
            checkpoint_steps=3,
        )
        settings = {"device": "cuda", "checkpoints": CheckpointFolder(tmp_path)}
        with pytest.raises(Stop):
            fit(network(), TRAIN, VALIDATION, params, 0, **settings, augmentation=counting)
        model = network()
        history = fit(model, TRAIN, VALIDATION, params, 0, **settings, augmentation=counting)
        assert len(taken) == 50 + 60 - 48
        assert history.epochs[-1]["validation_accuracy"] > 0.85
        assert next(model.parameters()).device.type == "cpu"
        whole = network()
        fit(whole, TRAIN, VALIDATION, params, 0, device="cuda", augmentation=counting)
        for name, value in model.state_dict().items():
            torch.testing.assert_close(value, whole.state_dict()[name], rtol=0.05, atol=0.05)

    def test_a_finished_training_is_returned(self, tmp_path):
        first, one = trained(checkpoints=CheckpointFolder(tmp_path))

        def never(images: Tensor, labels: Tensor, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
            raise Stop

        second, two = trained(checkpoints=CheckpointFolder(tmp_path), augmentation=never)
        assert same_weights(first, second)
        assert one == two  # seconds too
        assert not second.training

    @pytest.mark.parametrize(
        "change",
        [
            {"seed": 1},
            {"identity": "other data"},
            {"params": {"label_smoothing": 0.1}},
            {"phases": two_phases()},
            {"model": nn.Sequential(nn.Flatten(), nn.Linear(192, 3))},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_another_training_starts_anew_and_says_so(self, tmp_path, caplog, change):
        trained(checkpoints=CheckpointFolder(tmp_path))
        caplog.set_level(logging.INFO)
        _, history = trained(checkpoints=CheckpointFolder(tmp_path), **change)
        assert "belongs to another training" in caplog.text
        again = json.loads((tmp_path / "last/state.json").read_text())
        assert json.loads(again["progress"])["history"]["steps"] == history.steps

    def test_how_often_it_saves_is_no_other_training(self, tmp_path, caplog):
        trained(checkpoints=CheckpointFolder(tmp_path))
        caplog.set_level(logging.INFO)
        trained(checkpoints=CheckpointFolder(tmp_path), params={"checkpoint_steps": 1})
        assert "another training" not in caplog.text

    def test_best_holds_the_best_epochs_weights(self, tmp_path):
        params = {"epochs": 6, "optimiser": {"learning_rate": 0.5}}
        model, history = trained(params=params, checkpoints=CheckpointFolder(tmp_path))
        identity = json.loads((tmp_path / "best/state.json").read_text())["identity"]
        progress, weights = CheckpointFolder(tmp_path).load("best", identity)
        assert progress.history.best_epoch == history.best_epoch == len(progress.history.epochs)
        assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


class Spoiling(nn.Sequential):
    """Multiplies its logits by `factor` from the `after`-th training step on."""

    def __init__(self, after: int, factor: float) -> None:
        super().__init__(*network())
        self.after, self.factor, self.steps = after, factor, 0

    def forward(self, images: Tensor) -> Tensor:
        self.steps += self.training
        logits = super().forward(images)
        return logits * self.factor if self.training and self.steps >= self.after else logits


class Fitting(nn.Sequential):
    """Runs out of memory with more than `most` images."""

    def __init__(self, most: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(192, 3))
        self.most = most

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.most:
            raise torch.OutOfMemoryError("planted")
        return super().forward(images)


class TestFailing:
    def test_divergence_names_the_step_and_the_last_good_checkpoint(self, tmp_path):
        with pytest.raises(TrainingError) as error:
            trained(Spoiling(6, torch.nan), checkpoints=CheckpointFolder(tmp_path))
        for part in (
            "loss nan",
            "step 6",
            "epoch 2",
            "phase 'all'",
            str(tmp_path / "last"),
            "epoch 1, step 4",
            "learning_rate",
        ):
            assert part in str(error.value)

    def test_without_a_checkpoint_it_says_none(self):
        with pytest.raises(TrainingError, match="last good checkpoint: none"):
            trained(Spoiling(1, torch.inf))

    def test_a_gradient_that_is_not_finite_stops_it_too(self):
        class Edge(torch.autograd.Function):
            @staticmethod
            def forward(ctx, values):
                return values.clone()

            @staticmethod
            def backward(ctx, gradient):
                return gradient * torch.inf

        class Steep(nn.Sequential):
            def forward(self, images: Tensor) -> Tensor:
                return Edge.apply(super().forward(images))

        with pytest.raises(TrainingError, match=r"gradient norm (inf|nan) in step 1"):
            trained(Steep(*network()))

    def test_a_validation_loss_that_is_not_finite_stops_it(self):
        class Blind(nn.Sequential):
            def forward(self, images: Tensor) -> Tensor:
                return super().forward(images) * (1.0 if self.training else torch.nan)

        with pytest.raises(TrainingError, match="validation loss nan after step 4"):
            trained(Blind(*network()))

    @pytest.mark.parametrize("most", [16, 7, 1])
    def test_where_memory_ends_the_batch_is_halved_and_the_gradient_stays(self, caplog, most):
        torch.manual_seed(0)
        whole = Fitting(1000)
        model = Fitting(most)
        model.load_state_dict(whole.state_dict())
        params = {"class_weights": "balanced", "label_smoothing": 0.1}
        _, expected = trained(whole, params=params)
        _, history = trained(model, params=params)
        assert caplog.text.count("Out of memory") == {16: 0, 7: 2, 1: 4}[most]
        for ours, theirs in zip(model.parameters(), whole.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
        for ours, theirs in zip(history.steps, expected.steps, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-4)

    def test_one_image_that_does_not_fit_is_an_error(self):
        class Full(Fitting):
            def forward(self, images: Tensor) -> Tensor:
                self.most = 0 if self.training else 1000
                return super().forward(images)

        with pytest.raises(TrainingError, match="A single image"):
            trained(Full(0))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"params": {"precision": "float16"}}, "float16"),
            ({"params": {"class_weights": (1.0, 2.0)}}, "2 values for 3 classes"),
            ({"model": nn.Sequential(nn.Flatten(), nn.Linear(192, 2))}, "gives 2 logits"),
        ],
        ids=["precision", "weights", "logits"],
    )
    def test_what_does_not_fit_is_refused(self, change, message):
        with pytest.raises(ParameterError, match=message):
            trained(**change)

    def test_without_a_compiler_it_says_what_to_do(self, monkeypatch):
        monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "no-such-compiler"))
        with pytest.raises(ParameterError, match=r"C\+\+ compiler: install .*`compile` to false"):
            trained(params={"compile": True})

    def test_an_empty_split_is_refused(self):
        empty = TensorBatches(TRAIN.images[:0], TRAIN.labels[:0])
        for sets in ((empty, VALIDATION), (TRAIN, empty)):
            with pytest.raises(ParameterError, match="empty"):
                fit(network(), *sets, TrainingParams(), 0, device="cpu")

    @pytest.mark.parametrize(
        "wrong", [{"epochs": 0}, {"label_smoothing": 1.0}, {"class_weights": "even"}, {"amp": True}]
    )
    def test_a_mistyped_parameter_is_refused(self, wrong):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TrainingParams(**wrong)

    def test_a_class_without_rows_is_no_crash(self):
        some = TRAIN.labels != 2
        train = TensorBatches(TRAIN.images[some], TRAIN.labels[some])
        params = TrainingParams(
            epochs=2, batch_size=16, class_weights="balanced", mining={}, label_smoothing=0.1
        )
        history = fit(network(), train, train, params, 0, device="cpu")
        assert len(history.epochs) == 2
