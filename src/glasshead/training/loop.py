"""The training loop of networks that read pixels; a resumed training gives the same weights to the bit.

docs/decisions/0035 says why bottlenecks, risk heads and CLIP have their own loops.

All randomness (order, augmentation, dropout) depends only on the seed and the position (phase, epoch, step), so that a
checkpoint needs no generator state.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glasshead.device import Device, choose_device
from glasshead.errors import ParameterError
from glasshead.training.batches import Batches
from glasshead.training.checkpoint import CheckpointFolder
from glasshead.training.history import History
from glasshead.training.params import TrainingParams
from glasshead.training.phases import Phase, frozen_as_before, one_phase
from glasshead.training.run import Augmentation, Run

# Increase it when networks, augmentation or this loop change the weights that a training ends with.
TRAINING_CODE_VERSION = 2


def fit(
    model: nn.Module,
    train: Batches,
    validation: Batches,
    params: TrainingParams,
    seed: int,
    *,
    device: Device = "auto",
    checkpoints: CheckpointFolder | None = None,
    phases: Sequence[Phase] | None = None,
    identity: str = "",
    augmentation: Augmentation | None = None,
) -> History:
    """Train `model` in place and return its curves; it ends in evaluation mode with the weights of its best epoch.

    `model` maps float images in [0, 1], (b, 3, h, w), to logits (b, k). It is trained on `device` and moved back. The
    same parameters are frozen afterwards as before.

    Args:
        phases: the parameters to train, each phase with its own schedule and optimiser; by default one phase of
            `params.epochs` for all parameters that are not frozen. Each starts from the weights of the one before.
        checkpoints: where to save after every epoch. A stopped training continues as if it had not been stopped; a
            finished one is returned without training.
        identity: a digest of data, augmentation and initial weights, which with params, seed, phases and shapes
            determines the result. Checkpoints of another identity are not resumed.
        augmentation: (uint8 images (b, 3, h, w), labels (b,), seed, epoch) to float images in [0, 1] and targets (b, k)
            whose rows sum to 1; the epoch counts from 0 over all phases. By default images are unchanged.

    Raises:
        ParameterError: there are no rows, a label has no logit, a parameter does not fit the model or the machine, or
            a batch norm would see a single value for each channel.
        TrainingError: a loss or gradient is not finite, or a single image does not fit into memory.
        ArtifactError: a checkpoint cannot be written.
    """
    where = choose_device(device, "device")
    chosen = tuple(phases) if phases is not None else (one_phase(model, params.epochs),)
    if not (len(train) and len(validation)):
        raise ParameterError(
            "There are no images to train or to validate on: a split is empty. Add images."
        )
    origin = next(model.parameters()).device
    model.to(where)
    classes = _count_classes(model, train, validation, where)
    with frozen_as_before(model), torch.random.fork_rng(range(torch.cuda.device_count())):
        run = Run(
            model,
            train,
            validation,
            params,
            seed,
            device=where,
            classes=classes,
            phases=chosen,
            augmentation=augmentation or partial(_unchanged, classes),
            checkpoints=checkpoints,
            identity=_identify(
                model, params, seed, chosen, (len(train), len(validation)), identity
            ),
        )
        run.restore()
        with _single_images_explained():
            run.train()
        run.finish()
    model.to(origin)
    return run.progress.history


@contextmanager
def _single_images_explained() -> Iterator[None]:
    """Turn PyTorch's error for batch norms that see one value for each channel into ParameterError."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ParameterError(
            "Batch norms cannot be trained on one value for each channel. Set `batch_size` to 2 or more, or use larger "
            "images."
        ) from error


def _unchanged(
    classes: int, images: Tensor, labels: Tensor, seed: int, epoch: int
) -> tuple[Tensor, Tensor]:
    """Return the images as they are, in [0, 1], and one-hot targets."""
    return images.float() / 255, F.one_hot(labels, classes).float()


@torch.no_grad()
def _count_classes(model: nn.Module, train: Batches, validation: Batches, device: str) -> int:
    """Return the number of logits; ParameterError if a label exceeds it."""
    first = validation.take(torch.tensor([0])).to(device).float() / 255
    classes: int = model.eval()(first).shape[1]
    for name, batches in (("train", train), ("validation", validation)):
        least, most = int(batches.labels.min()), int(batches.labels.max())
        if least < 0 or most >= classes:
            raise ParameterError(
                f"The {name} labels go from {least} to {most}, but the model gives {classes} logits."
            )
    return classes


def _identify(
    model: nn.Module,
    params: TrainingParams,
    seed: int,
    phases: tuple[Phase, ...],
    rows: tuple[int, int],
    identity: str,
) -> str:
    described = {
        "code": TRAINING_CODE_VERSION,
        "params": params.model_dump(mode="json", exclude={"checkpoint_steps"}),
        "seed": seed,
        "phases": [asdict(phase) for phase in phases],
        "shapes": {name: list(value.shape) for name, value in model.state_dict().items()},
        "rows": rows,
        "given": identity,
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
