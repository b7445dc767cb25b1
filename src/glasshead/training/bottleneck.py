"""Training of a concept bottleneck on fixed embeddings: joint, sequential or independent.

The three modes are those of Koh et al. 2020, arXiv:2007.04612, sections 3 and 4.2. The loss of joint training is
cross-entropy(final) + auxiliary_weight · Σ cross-entropy(subtasks).
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import BaseModel, Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from glasshead.errors import TrainingError
from glasshead.progress import reported

Mode = Literal["joint", "sequential", "independent"]


class BottleneckTraining(BaseModel, extra="forbid", frozen=True):
    """How a bottleneck is trained."""

    mode: Mode = "joint"
    epochs: PositiveInt = 60
    batch_size: PositiveInt = 512
    learning_rate: PositiveFloat = 2e-3  # falls to 0 along a cosine over all epochs
    weight_decay: NonNegativeFloat = 1e-5
    auxiliary_weight: NonNegativeFloat = 0.1
    embedding_noise: NonNegativeFloat = Field(
        default=1.0, description="standard deviation of Gaussian noise on standardised embeddings"
    )
    patience: PositiveInt = Field(
        default=10, description="epochs without a better validation loss before a phase stops"
    )


class BottleneckModule(Protocol):
    """What training needs of a bottleneck: `heads` and `meta` with their own parameters, and the steps between them.

    `scale` (d,) is the standard deviation of the embeddings.
    """

    widths: tuple[int, ...]
    scale: Tensor
    heads: nn.ModuleList
    meta: nn.Module

    def concept_logits(self, embeddings: Tensor) -> Tensor: ...
    def to_probabilities(self, concept_logits: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class BottleneckData:
    """Rows to fit or validate on: embeddings, a target column for each subtask, class indices."""

    embeddings: Float[Tensor, "n d"]
    targets: Int[Tensor, "n t"]
    labels: Int[Tensor, " n"]

    def __getitem__(self, rows: Tensor) -> "BottleneckData":
        return BottleneckData(self.embeddings[rows], self.targets[rows], self.labels[rows])

    def __len__(self) -> int:
        return len(self.labels)


def train_bottleneck(
    model: Any,
    train: BottleneckData,
    validation: BottleneckData,
    params: BottleneckTraining,
    seed: int,
) -> list[dict[str, float | str]]:
    """Train `model` in place; return a row for each epoch.

    Each phase (one for joint training, else heads and then meta-learner) ends with the weights of its best validation
    loss. Columns: epoch (counted over phases), phase, train_loss, validation_loss, validation_accuracy.

    Raises TrainingError if a loss is not finite.
    """
    generator = torch.Generator().manual_seed(seed)
    history: list[dict[str, float | str]] = []
    for phase, loss, parameters in _phases(model, params):
        _fit_phase(model, parameters, loss, train, validation, params, generator, history, phase)
    return history


Loss = Callable[[BottleneckData], Tensor]


def _phases(
    model: BottleneckModule, params: BottleneckTraining
) -> Iterator[tuple[str, Loss, list[nn.Parameter]]]:
    def heads_loss(batch: BottleneckData) -> Tensor:
        return subtask_loss(model, model.concept_logits(batch.embeddings), batch.targets)

    def meta_loss(batch: BottleneckData) -> Tensor:
        if params.mode == "independent":
            concepts = true_codes(batch.targets, model.widths)
        else:
            with torch.no_grad():
                concepts = model.to_probabilities(model.concept_logits(batch.embeddings))
        return F.cross_entropy(model.meta(concepts), batch.labels)

    def joint_loss(batch: BottleneckData) -> Tensor:
        concept_logits = model.concept_logits(batch.embeddings)
        final = F.cross_entropy(model.meta(model.to_probabilities(concept_logits)), batch.labels)
        return final + params.auxiliary_weight * subtask_loss(model, concept_logits, batch.targets)

    heads, meta = list(model.heads.parameters()), list(model.meta.parameters())
    if params.mode == "joint":
        yield "joint", joint_loss, heads + meta
    else:
        yield "heads", heads_loss, heads
        yield "meta", meta_loss, meta


def subtask_loss(
    model: BottleneckModule, concept_logits: Float[Tensor, "n c"], targets: Int[Tensor, "n t"]
) -> Float[Tensor, ""]:
    """Return the sum over subtasks of their mean cross-entropy."""
    by_subtask = concept_logits.split(model.widths, dim=-1)
    return torch.stack(
        [F.cross_entropy(own, targets[:, index]) for index, own in enumerate(by_subtask)]
    ).sum()


def true_codes(targets: Int[Tensor, "n t"], widths: tuple[int, ...]) -> Float[Tensor, "n c"]:
    """Return the one-hot codes of the targets, side by side."""
    codes = [F.one_hot(targets[:, index], width) for index, width in enumerate(widths)]
    return torch.cat(codes, dim=-1).float()


def _noisy(batch: BottleneckData, deviation: Tensor, generator: torch.Generator) -> BottleneckData:
    """Return the batch with Gaussian noise: a smoothness penalty (Bishop 1995, doi:10.1162/neco.1995.7.1.108)."""
    noise = torch.randn(batch.embeddings.shape, generator=generator)
    return replace(batch, embeddings=batch.embeddings + deviation * noise)


def _fit_phase(
    model: Any,
    parameters: list[nn.Parameter],
    loss: Loss,
    train: BottleneckData,
    validation: BottleneckData,
    params: BottleneckTraining,
    generator: torch.Generator,
    history: list[dict[str, float | str]],
    phase: str,
) -> None:
    optimiser = torch.optim.Adam(
        parameters, lr=params.learning_rate, weight_decay=params.weight_decay
    )
    steps = params.epochs * math.ceil(len(train) / params.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    best, best_loss, waited = copy.deepcopy(model.state_dict()), float("inf"), 0
    for _ in reported(range(params.epochs), f"epochs of phase {phase}", params.epochs):
        total = 0.0
        model.train()
        for rows in torch.randperm(len(train), generator=generator).split(params.batch_size):
            batch_loss = loss(_noisy(train[rows], params.embedding_noise * model.scale, generator))
            optimiser.zero_grad()
            batch_loss.backward()
            optimiser.step()
            schedule.step()
            total += batch_loss.item() * len(rows)
        model.eval()
        with torch.no_grad():
            validation_loss = loss(validation).item()
            accuracy = (
                (model(validation.embeddings).argmax(dim=-1) == validation.labels)
                .float()
                .mean()
                .item()
            )
        if not math.isfinite(total + validation_loss):
            raise TrainingError(
                f"The bottleneck's loss is not finite in epoch {len(history) + 1} ({phase}): lower "
                "`train_heads.training.learning_rate`, or look for extreme embeddings."
            )
        history.append(
            {
                "epoch": len(history) + 1,
                "phase": phase,
                "train_loss": total / len(train),
                "validation_loss": validation_loss,
                "validation_accuracy": accuracy,
            }
        )
        if validation_loss < best_loss:
            best, best_loss, waited = copy.deepcopy(model.state_dict()), validation_loss, 0
        else:
            waited += 1
            if waited >= params.patience:
                break
    model.load_state_dict(best)
