"""Parameters of `train_cnn`."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt

from glasshead.device import Device
from glasshead.models.cnn import SMALLEST, Architecture
from glasshead.models.processor import Resampling
from glasshead.training.augment import PRESETS, NamedAugmentation
from glasshead.training.params import TrainingParams


class TrainCNNParams(BaseModel, extra="forbid", frozen=True):
    """The network, what it sees, and how it is trained."""

    architecture: Architecture = "fast_cnn"
    width: PositiveFloat = 0.25
    image_size: Literal["auto"] | Annotated[int, Field(ge=SMALLEST)] = "auto"
    largest_size: Annotated[int, Field(ge=SMALLEST)] = 64
    resize: Resampling = "bilinear"
    augmentation: NamedAugmentation = PRESETS["baseline"]
    training: TrainingParams = TrainingParams()
    test_time_augmentation: Literal["none", "flip", "flip_and_shift"] = "flip"
    memory_mb: PositiveInt = 4096
    threads: PositiveInt | None = 1
    device: Device = "auto"
