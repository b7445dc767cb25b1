"""Training of a risk head on frozen features, which takes seconds on a CPU."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, Field, PositiveInt
from torch import Tensor

from glasshead.calibration.ranking import auroc, average_precision, mean_gap
from glasshead.errors import TrainingError
from glasshead.seeds import generator
from glasshead.training.optimisers import (
    OptimiserParams,
    ScheduleParams,
    build_optimisers,
    rate_factor,
    set_rates,
)
from glasshead.training.phases import one_phase
from glasshead.training.risk_losses import RiskLosses, RiskLossWeights, risk_losses

Row = dict[str, Any]
Take = Callable[[Int[np.ndarray, " b"]], Float[Tensor, "b d h w"]]
# from the risk maps of the validation rows to measures of how well they localise, by name
Localise = Callable[[Float[Tensor, "n r h w"]], dict[str, float | None]]


class RiskTraining(BaseModel, extra="forbid", frozen=True):
    """How a risk head is trained.

    Attributes:
        losses: the weights of the losses.
        epochs, batch_size, optimiser, schedule: as in `TrainingParams`.
        narrowing: fraction of the steps over which pooling narrows from all places to the highest. Without
            narrowing, only the places that are highest by chance would learn, even beside the object.
        resample: `balanced` samples, with replacement, as many images with each risk as without; for rare risks.
    """

    losses: RiskLossWeights = RiskLossWeights()
    epochs: PositiveInt = 15
    batch_size: PositiveInt = 256
    optimiser: OptimiserParams = OptimiserParams(
        name="adamw", learning_rate=0.005, weight_decay=0.05
    )
    schedule: ScheduleParams = ScheduleParams()
    narrowing: float = Field(default=0.5, ge=0, le=1)
    resample: Literal["none", "balanced"] = "none"


@dataclass(frozen=True)
class RiskRows:
    """Rows to fit or validate on: `take` returns features of rows; `labels` are 1 for the row's risks, else 0."""

    take: Take
    labels: Float[Tensor, "n r"]

    def __len__(self) -> int:
        return len(self.labels)


def train_risk_head(
    head: Any,
    train: RiskRows,
    validation: RiskRows,
    params: RiskTraining,
    seed: int,
    localise: Localise,
) -> list[Row]:
    """Train `head` in place; return a row for each epoch.

    `head` ends in evaluation mode, with the weights of the epoch with the lowest validation_loss.
    `head` has `logits_and_activations` of features, `narrowed`, `top` (the highest activations, for the patch loss) and
    `spread` (from activations to maps).
    Columns: epoch; train_<loss> and validation_<loss> for loss (the weighted sum), bce, ranking, patch; train_gap and
    validation_gap (mean logit of images with the risk minus that of images without it); validation_auroc,
    validation_auprc, and what `localise` gives, as validation_<name>, all means over the risks; learning_rate, of the
    last step.

    Raises TrainingError if a loss is not finite, or a batch does not fit into memory.
    """
    head.standardise_by(*channel_moments(train, params.batch_size))
    optimisers = build_optimisers(head, one_phase(head, params.epochs), params.optimiser)
    steps = math.ceil(len(train) / params.batch_size)
    history: list[Row] = []
    best, best_loss = copy.deepcopy(head.state_dict()), math.inf
    for epoch in range(params.epochs):
        head.train()
        order = draw_order(train.labels, params.resample, seed, epoch)
        losses_by_step, outputs = [], []
        for step, rows in enumerate(np.array_split(order, steps)):
            done = epoch * steps + step
            set_rates(optimisers, rate_factor(params.schedule, done, steps * params.epochs))
            head.narrowed = min(1.0, done / max(1.0, params.narrowing * steps * params.epochs))
            losses, logits = _step(head, optimisers, train, rows, params)
            losses_by_step.append((len(rows), losses))
            outputs.append((logits, train.labels[rows]))
        head.narrowed = 1.0
        row: Row = {"epoch": epoch + 1} | _named("train", losses_by_step, params.losses)
        row["train_gap"] = mean_over_risks(mean_gap, *map(torch.cat, zip(*outputs, strict=True)))
        row |= _validate(head, validation, params, seed, localise)
        row["learning_rate"] = optimisers[0].param_groups[0]["lr"]
        if not math.isfinite(row["train_loss"] + row["validation_loss"]):
            raise TrainingError(
                f"The loss is not finite in epoch {epoch + 1}. Lower `risk.training.optimiser.learning_rate`, or look "
                "for extreme features."
            )
        history.append(row)
        if row["validation_loss"] < best_loss:
            best, best_loss = copy.deepcopy(head.state_dict()), row["validation_loss"]
    head.load_state_dict(best)
    head.eval()
    return history


class RiskOutputs(NamedTuple):
    """The outputs of a head: logits, the activations that they come from, and risk maps."""

    logits: Float[Tensor, "n r"]
    activations: Float[Tensor, "n r h w"]
    maps: Float[Tensor, "n r h w"]


@torch.no_grad()
def risk_outputs(head: Any, rows: RiskRows, batch_size: int) -> RiskOutputs:
    """Return the outputs of all rows."""
    head.eval()
    outputs_by_batch = []
    for chosen in batches(np.arange(len(rows)), batch_size):
        features = rows.take(chosen)
        logits, activations = head.logits_and_activations(features)
        outputs_by_batch.append((logits, activations, head.spread(activations, features)))
    return RiskOutputs(*map(torch.cat, zip(*outputs_by_batch, strict=True)))


def draw_order(
    labels: Float[Tensor, "n r"], resample: Literal["none", "balanced"], seed: int, epoch: int
) -> Int[np.ndarray, " n"]:
    """Return the row indices of an epoch in order: each once, or n sampled so that half of them have each risk.

    With several risks, the sampling weights are averaged over risks.
    """
    draw = generator(seed, "risk", "order", epoch)
    if resample == "none":
        return draw.permutation(len(labels))
    present = labels.numpy() > 0.5
    fraction = present.mean(axis=0)
    weights = np.where(
        present, 1 / np.maximum(fraction, 1e-12), 1 / np.maximum(1 - fraction, 1e-12)
    )
    chance = weights.mean(axis=1)
    return draw.choice(len(labels), size=len(labels), p=chance / chance.sum())


@torch.no_grad()
def channel_moments(
    rows: RiskRows, batch_size: int
) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
    """Return mean and standard deviation of each channel over all places of all rows."""
    count, total, squares = 0, torch.tensor(0.0), torch.tensor(0.0)
    for chosen in batches(np.arange(len(rows)), batch_size):
        positions = rows.take(chosen).transpose(0, 1).flatten(1).double()
        count += positions.shape[1]
        total, squares = total + positions.sum(dim=1), squares + (positions**2).sum(dim=1)
    mean = total / count
    return mean.float(), (squares / count - mean**2).clamp(min=0).sqrt().float()


def batches(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """Return `rows` in parts of at most `size`."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _step(
    head: Any,
    optimisers: list[torch.optim.Optimizer],
    train: RiskRows,
    rows: np.ndarray,
    params: RiskTraining,
) -> tuple[RiskLosses, Tensor]:
    """Take one step; return the losses and logits before it."""
    try:
        logits, activations = head.logits_and_activations(train.take(rows))
        losses = risk_losses(logits, head.top(activations), train.labels[rows])
        for optimiser in optimisers:
            optimiser.zero_grad()
        losses.total(params.losses).backward()
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"The features of a batch of {len(rows)} images do not fit into memory: {error}. Lower "
            "`risk.training.batch_size`."
        ) from error
    for optimiser in optimisers:
        optimiser.step()
    return RiskLosses(*(loss.detach() for loss in losses)), logits.detach()


def _validate(
    head: Any, validation: RiskRows, params: RiskTraining, seed: int, localise: Localise
) -> Row:
    """Return an epoch's columns for validation rows; losses use batches in a fixed random order, as in training."""
    logits, activations, maps = risk_outputs(head, validation, params.batch_size)
    order = generator(seed, "risk", "validation").permutation(len(validation))
    losses_by_batch = [
        (len(rows), risk_losses(logits[rows], head.top(activations[rows]), validation.labels[rows]))
        for rows in batches(order, params.batch_size)
    ]
    measures = {"gap": mean_gap, "auroc": auroc, "auprc": average_precision}
    estimates = {
        name: mean_over_risks(measure, logits, validation.labels)
        for name, measure in measures.items()
    }
    estimates |= localise(maps)
    return _named("validation", losses_by_batch, params.losses) | {
        f"validation_{name}": value for name, value in estimates.items()
    }


def _named(
    split: str, losses_by_batch: list[tuple[int, RiskLosses]], weights: RiskLossWeights
) -> Row:
    """Return the means of losses over rows, by column."""
    counts = torch.tensor([count for count, _ in losses_by_batch], dtype=torch.float)
    mean = RiskLosses(
        *(
            (counts * torch.stack(values)).sum() / counts.sum()
            for values in zip(*(losses for _, losses in losses_by_batch), strict=True)
        )
    )
    row = {f"{split}_loss": mean.total(weights).item()}
    return row | {f"{split}_{name}": value.item() for name, value in mean._asdict().items()}


def mean_over_risks(measure: Any, logits: Tensor, labels: Tensor) -> float | None:
    """Return the mean of a statistic over the risks for which it is defined."""
    values = [
        measure(score, label > 0.5).value
        for score, label in zip(logits.double().numpy().T, labels.numpy().T, strict=True)
    ]
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None
