"""The recipe of a training, and its floating-point precision."""

from typing import Literal

import torch
from pydantic import BaseModel, Field, PositiveFloat, PositiveInt

from glasshead.errors import ParameterError
from glasshead.training.mining import MiningParams
from glasshead.training.optimisers import OptimiserParams, ScheduleParams

Precision = Literal["auto", "float32", "bfloat16", "float16"]


class TrainingParams(BaseModel, extra="forbid", frozen=True):
    """How a network is trained, without its augmentation."""

    epochs: PositiveInt = 20  # of the only phase, if no phases are given
    batch_size: PositiveInt = Field(
        default=128, description="images a step; an epoch's incomplete last batch is left out"
    )
    optimiser: OptimiserParams = OptimiserParams()
    schedule: ScheduleParams = ScheduleParams()
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    class_weights: Literal["balanced"] | tuple[PositiveFloat, ...] | None = Field(
        default=None, description="weights in the training loss: `balanced`, or one for each class"
    )
    ema_decay: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="decay of averaged weights, which are validated and kept",
    )
    clip_norm: PositiveFloat | None = Field(
        default=None, description="the largest L2 norm of the gradient"
    )
    precision: Precision = "auto"  # bfloat16 on CUDA, float32 on a CPU
    channels_last: bool = False
    compile: bool = False  # by torch.compile, which takes a minute and needs a C++ compiler
    select_by: Literal["validation_loss", "validation_accuracy"] = "validation_loss"
    patience: PositiveInt | None = Field(
        default=None, description="epochs without a better validation before a phase ends"
    )
    mining: MiningParams | None = None
    checkpoint_steps: PositiveInt | None = Field(
        default=None, description="steps between checkpoints within an epoch; None: only at its end"
    )


def choose_precision(wanted: Precision, device: str) -> torch.dtype:
    """Return the dtype of autocast: `auto` is bfloat16 on CUDA, float32 (no autocast) on a CPU.

    Raises ParameterError for float16 on a CPU, which has no gradient scaler.
    """
    if wanted == "float16" and device == "cpu":
        raise ParameterError(
            "`precision` is float16, which needs CUDA. Use auto, float32 or bfloat16."
        )
    if wanted == "auto":
        return torch.bfloat16 if device == "cuda" else torch.float32
    return getattr(torch, wanted)
