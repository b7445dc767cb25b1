"""A running training: its state, steps and epochs, and how it is saved and resumed."""

import logging
import math
import time
from collections.abc import Callable
from contextlib import closing

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from glasshead.errors import TrainingError
from glasshead.files import failpoint
from glasshead.seeds import stream_seed
from glasshead.training.batches import Batches
from glasshead.training.checkpoint import (
    CheckpointFolder,
    join_parts,
    load_optimisers,
    optimiser_tensors,
    split_parts,
)
from glasshead.training.history import Progress
from glasshead.training.losses import class_weights, validate
from glasshead.training.mining import draw_order
from glasshead.training.optimisers import build_optimisers, rate_factor, set_rates
from glasshead.training.params import TrainingParams
from glasshead.training.phases import Phase, freeze_others, set_training_mode
from glasshead.training.steps import Meter, Stepper, WeightAverage

logger = logging.getLogger(__name__)

Augmentation = Callable[
    [UInt8[Tensor, "b 3 h w"], Int[Tensor, " b"], int, int],
    tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b k"]],
]


class Run:
    """One training of `model`, which is on `device`; call `restore`, `train` and `finish` in this order."""

    def __init__(
        self,
        model: nn.Module,
        train: Batches,
        validation: Batches,
        params: TrainingParams,
        seed: int,
        *,
        device: str,
        classes: int,
        phases: tuple[Phase, ...],
        augmentation: Augmentation,
        checkpoints: CheckpointFolder | None,
        identity: str,
    ) -> None:
        self.model, self.train_set, self.validation_set = model, train, validation
        self.params, self.seed, self.device, self.phases = params, seed, device, phases
        self.augmentation, self.checkpoints, self.identity = augmentation, checkpoints, identity
        self.batch_size = min(params.batch_size, len(train))
        self.epoch_steps = len(train) // self.batch_size
        self.labels = train.labels.to(device)
        self.layout = torch.channels_last if params.channels_last else torch.contiguous_format
        model.to(memory_format=self.layout)
        weights = class_weights(params.class_weights, train.labels, classes, device)
        self.stepper = Stepper(model, params, device, weights)
        self.meter = Meter(self.stepper)
        self.average = WeightAverage(model, params.ema_decay) if params.ema_decay else None
        self.best: dict[str, Tensor] = {}
        self.progress = Progress()
        self.saved = "none"
        self.optimisers: list[torch.optim.Optimizer] = []

    def restore(self) -> None:
        """Resume the last checkpoint of this training, if there is one."""
        checkpoint = self.checkpoints.load("last", self.identity) if self.checkpoints else None
        groups = split_parts(checkpoint[1] if checkpoint else {})
        if checkpoint:
            self.progress = checkpoint[0]
            self.model.load_state_dict(groups["model"])
            if self.average:
                self.average.module.load_state_dict(groups["average"])
            self.best = {name: value.to(self.device) for name, value in groups["best"].items()}
            self.stepper.micro_batch = self.progress.micro_batch
            self.stepper.scaler.load_state_dict(self.progress.scaler)
            self._note_saved()
            what = "was finished at" if self.progress.finished else "goes on after"
            logger.info("Training %s %s", what, self.progress.place())
        if not self.progress.finished:
            self._enter_phase()
            load_optimisers(self.optimisers, groups["optimiser"])

    def train(self) -> None:
        """Train to the end."""
        while not self.progress.finished:
            self._train_epoch()
            self._close_epoch()

    def finish(self) -> None:
        """Give the model its best weights, in evaluation mode."""
        self.model.load_state_dict(self.best)
        self.model.eval()

    def _enter_phase(self) -> None:
        phase = self.phases[self.progress.phase]
        freeze_others(self.model, phase)
        self.optimisers = build_optimisers(self.model, phase, self.params.optimiser)

    def _train_epoch(self) -> None:
        progress, every = self.progress, self.params.checkpoint_steps
        set_training_mode(self.model)
        rest = draw_order(
            self.train_set.labels,
            stream_seed(self.seed, "order", progress.phase, progress.epoch),
            self.params.mining,
            progress.confusion,
        ).split(self.batch_size)[progress.step : self.epoch_steps]
        started = time.perf_counter()
        with closing(self.train_set.stream(rest)) as stream:
            for rows, pixels in zip(rest, stream, strict=True):
                failpoint("train/step")
                self._step(rows, pixels)
                if every and progress.step % every == 0 and progress.step < self.epoch_steps:
                    self._read()
                    progress.seconds += time.perf_counter() - started
                    self._save()
                    started = time.perf_counter()
        self._read()
        progress.seconds += time.perf_counter() - started

    def _step(self, rows: Tensor, pixels: Tensor) -> None:
        progress, params = self.progress, self.params
        position = (progress.phase, progress.epoch, progress.step)
        images, targets = self.augmentation(
            pixels.to(self.device, non_blocking=True),
            self.labels[rows.to(self.device, non_blocking=True)],
            stream_seed(self.seed, "augmentation", *position),
            len(progress.history.epochs),
        )
        factor = rate_factor(
            params.schedule,
            progress.epoch * self.epoch_steps + progress.step,
            self.phases[progress.phase].epochs * self.epoch_steps,
        )
        set_rates(self.optimisers, factor)
        images = images.contiguous(memory_format=self.layout)
        seed = stream_seed(self.seed, "step", *position)
        measured = self.stepper(images, targets, self.optimisers, seed)
        self.meter.note(factor * params.optimiser.learning_rate, measured)
        progress.step += 1
        if self.average:
            self.average.update(self.model, len(progress.history.steps) + len(self.meter))
        if self.meter.is_full:
            self._read()

    def _read(self) -> None:
        if what := self.meter.read(self.progress.history):
            raise self._diverged(what)

    def _diverged(self, what: str) -> TrainingError:
        history, phase = self.progress.history, self.phases[self.progress.phase].name
        return TrainingError(
            f"Training diverged: {what}, epoch {len(history.epochs) + 1}, phase {phase!r}. The last good checkpoint: "
            f"{self.saved}. Lower `optimiser.learning_rate`, or set `clip_norm`."
        )

    def _close_epoch(self) -> None:
        """Validate, keep the weights if they are the best so far, move on, save."""
        progress, history, phase = self.progress, self.progress.history, self.progress.phase
        module = self.model
        if self.average:
            self.average.copy_buffers(self.model)
            module = self.average.module
        size = min(self.batch_size, self.stepper.micro_batch or self.batch_size)
        validation = validate(module, self.validation_set, size, self.device, self.stepper.autocast)
        if not math.isfinite(validation.loss):
            raise self._diverged(
                f"validation loss {validation.loss} after step {len(history.steps)}"
            )
        row = history.add_epoch(
            self.phases[phase].name,
            self.epoch_steps,
            self.batch_size,
            validation.loss,
            validation.accuracy,
            progress.seconds,
        )
        planned = sum(phase.epochs for phase in self.phases)
        left = row["seconds"] / row["epoch"] * (planned - row["epoch"])
        logger.info(
            "Epoch %d of %d (%s): train loss %.3f, validation loss %.3f, accuracy %.3f, %.0f s, about %.0f s left",
            row["epoch"], planned, row["phase"], row["train_loss"], validation.loss, validation.accuracy,
            row["seconds"], left,
        )  # fmt: skip
        progress.confusion = validation.confusion.tolist() if self.params.mining else None
        if is_best := history.note_best(self.params.select_by):
            self.best = {name: value.clone() for name, value in module.state_dict().items()}
        progress.move_on([planned.epochs for planned in self.phases], self.params.patience)
        if self.checkpoints and is_best:
            self.checkpoints.save("best", self.identity, progress, self.best)
        self._save()
        if progress.phase not in (phase, len(self.phases)):
            self._enter_phase()

    def _save(self) -> None:
        if not self.checkpoints:
            return
        progress = self.progress
        progress.micro_batch = self.stepper.micro_batch
        progress.scaler = self.stepper.scaler.state_dict()
        groups = {"model": self.model.state_dict(), "best": self.best}
        if self.average:
            groups["average"] = self.average.module.state_dict()
        if progress.epoch or progress.step:  # a phase begins with new optimisers
            groups["optimiser"] = optimiser_tensors(self.optimisers)
        self.checkpoints.save("last", self.identity, progress, join_parts(groups))
        self._note_saved()

    def _note_saved(self) -> None:
        if self.checkpoints:
            self.saved = f"{self.checkpoints.path / 'last'} ({self.progress.place()})"
