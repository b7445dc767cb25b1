"""The curves of a training, and its progress."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

Row = dict[str, Any]


@dataclass
class History:
    """The curves of a training.

    Attributes:
        epochs: one row an epoch: epoch (counted from 1 over all phases), phase (its name), train_loss and
            train_accuracy (means over the epoch's steps, as the weights changed, on augmented images), validation_loss
            and validation_accuracy, learning_rate (of the last step, for parameters of rate 1), gradient_norm (mean
            over the steps), images_seen and seconds (both since the start; seconds of training alone).
        steps: one row a step: step (counted from 1 over all phases), loss, accuracy, learning_rate, gradient_norm
            (before clipping; null where float16 overflowed and the step was skipped).
        best_epoch: the epoch whose weights were kept.
    """

    epochs: list[Row] = field(default_factory=list)
    steps: list[Row] = field(default_factory=list)
    best_epoch: int = 0

    def add_step(
        self, loss: float, accuracy: float, learning_rate: float, gradient_norm: float | None
    ) -> None:
        """Append the next step's row."""
        self.steps.append(
            {
                "step": len(self.steps) + 1,
                "loss": loss,
                "accuracy": accuracy,
                "learning_rate": learning_rate,
                "gradient_norm": gradient_norm,
            }
        )

    def add_epoch(
        self,
        phase: str,
        steps: int,
        batch_size: int,
        validation_loss: float,
        validation_accuracy: float,
        seconds: float,
    ) -> Row:
        """Append, and return, the row of the epoch that ends with the last of its `steps`."""
        rows = self.steps[-steps:]
        norms = [row["gradient_norm"] for row in rows if row["gradient_norm"] is not None]
        row = {
            "epoch": len(self.epochs) + 1,
            "phase": phase,
            "train_loss": sum(row["loss"] for row in rows) / steps,
            "train_accuracy": sum(row["accuracy"] for row in rows) / steps,
            "validation_loss": validation_loss,
            "validation_accuracy": validation_accuracy,
            "learning_rate": rows[-1]["learning_rate"],
            "gradient_norm": sum(norms) / len(norms) if norms else None,
            "images_seen": len(self.steps) * batch_size,
            "seconds": seconds,
        }
        self.epochs.append(row)
        return row

    def note_best(self, key: Literal["validation_loss", "validation_accuracy"]) -> bool:
        """Return whether the last epoch is the best by `key`, and note it; of equal epochs, the first is best."""
        sign = -1 if key == "validation_loss" else 1
        values = [sign * row[key] for row in self.epochs]
        is_best = not self.best_epoch or values[-1] > values[self.best_epoch - 1]
        if is_best:
            self.best_epoch = len(values)
        return is_best


@dataclass
class Progress:
    """The position of a training, and all state besides tensors that it needs to continue.

    Attributes:
        phase: number of phases done.
        epoch: number of epochs done in this phase.
        step: number of steps done in this epoch.
        seconds: seconds of training so far.
        micro_batch: the largest number of images known to fit into memory at once; 0 is no limit.
        scaler: state of the gradient scaler.
        confusion: the confusion matrix of the last validation, for hard-example mining.
        finished: whether the training is over.
        history: the curves so far.
    """

    phase: int = 0
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    micro_batch: int = 0
    scaler: dict[str, float] = field(default_factory=dict)
    confusion: list[list[int]] | None = None
    finished: bool = False
    history: History = field(default_factory=History)

    def move_on(self, phase_epochs: list[int], patience: int | None) -> None:
        """Go to the next epoch, or to the next phase if this one has no epochs or patience left."""
        self.step, self.epoch = 0, self.epoch + 1
        waited = min(len(self.history.epochs) - self.history.best_epoch, self.epoch)
        if self.epoch == phase_epochs[self.phase] or (patience and waited >= patience):
            self.phase, self.epoch = self.phase + 1, 0
        self.finished = self.phase == len(phase_epochs)

    def to_json(self) -> str:
        """Return everything as JSON; floats keep every bit."""
        return json.dumps(self, default=vars)

    @classmethod
    def from_json(cls, text: str) -> "Progress":
        """Return what `to_json` wrote; ValueError, LookupError or TypeError for other text."""
        state = json.loads(text)
        if set(state) != {column.name for column in dataclasses.fields(cls)}:
            raise ValueError("its fields are not those of a training's progress")
        return cls(**state | {"history": History(**state["history"])})

    def place(self) -> str:
        """Return the current epoch and step in words."""
        done = len(self.history.steps)
        return f"epoch {len(self.history.epochs) + (self.step > 0)}, step {done}"
