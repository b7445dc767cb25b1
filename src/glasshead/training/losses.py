"""Class weights in the loss of a training, and the validation of a model."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from glasshead.errors import ParameterError
from glasshead.training.batches import Batches

ClassWeights = Literal["balanced"] | tuple[float, ...] | None


def class_weights(
    wanted: ClassWeights, labels: Int[Tensor, " n"], classes: int, device: str = "cpu"
) -> Float[Tensor, " k"] | None:
    """Return the weight of each class in the loss, scaled so that the rows' weights average 1; None for None.

    "balanced" gives each class with rows the same total weight, and 0 to a class without rows.

    Raises ParameterError unless there is one weight for each class.
    """
    if wanted is None:
        return None
    counts = torch.bincount(labels, minlength=classes).double()
    if wanted == "balanced":
        weights = torch.where(counts > 0, 1 / counts.clamp(min=1), 0.0)
    elif len(wanted) == classes:
        weights = torch.tensor(wanted, dtype=torch.float64)
    else:
        raise ParameterError(
            f"`class_weights` has {len(wanted)} values for {classes} classes: give one for each, or `balanced`."
        )
    return (weights * len(labels) / (weights * counts).sum()).float().to(device)


@dataclass(frozen=True)
class Validation:
    """Mean cross-entropy in nats, without class weights and label smoothing; accuracy; and the confusion matrix.

    `confusion[i, j]` counts rows of class i that are predicted as class j.
    """

    loss: float
    accuracy: float
    confusion: Int[Tensor, "k k"]


@torch.no_grad()
def validate(
    model: nn.Module,
    batches: Batches,
    batch_size: int,
    device: str,
    precision: AbstractContextManager[object],
) -> Validation:
    """Return the validation of `model`, in evaluation mode, on `batches`."""
    model.eval()
    labels = batches.labels.to(device)
    outputs = []
    rows = torch.arange(len(labels)).split(batch_size)
    with precision:
        for pixels in batches.stream(rows):
            outputs.append(model(pixels.to(device, non_blocking=True).float() / 255).float())
    logits = torch.cat(outputs)
    classes = logits.shape[1]
    counts = torch.bincount(labels * classes + logits.argmax(dim=1), minlength=classes**2)
    confusion = counts.reshape(classes, classes).cpu()
    loss = F.cross_entropy(logits.double(), labels).item()
    return Validation(loss, confusion.trace().item() / len(labels), confusion)
