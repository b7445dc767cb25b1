"""Parameters of `train_cnn`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, PositiveFloat, PositiveInt

from glasshead.device import Device
from glasshead.models.cnn import SMALLEST, Architecture
from glasshead.models.resize import Interpolation
from glasshead.training.augment import PRESETS, AugmentParams
from glasshead.training.params import TrainingParams


def _by_name(value: Any) -> Any:
    if isinstance(value, str):
        if value not in PRESETS:
            raise ValueError(
                f"there is no augmentation {value!r}: choose one of {', '.join(PRESETS)}"
            )
        return PRESETS[value]
    return value


class TrainCNNParams(BaseModel, extra="forbid", frozen=True):
    """The network, what it sees, and how it is trained."""

    architecture: Architecture = "fast_cnn"
    width: PositiveFloat = 0.25
    image_size: Literal["auto"] | Annotated[int, Field(ge=SMALLEST)] = "auto"
    largest_size: Annotated[int, Field(ge=SMALLEST)] = 64
    resize: Interpolation = "bilinear"
    augmentation: Annotated[AugmentParams, BeforeValidator(_by_name)] = PRESETS["baseline"]
    training: TrainingParams = TrainingParams()
    test_time_augmentation: Literal["none", "flip", "flip_and_shift"] = "flip"
    memory_mb: PositiveInt = 4096
    device: Device = "auto"
