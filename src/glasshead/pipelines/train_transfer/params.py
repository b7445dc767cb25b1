"""Parameters of `train_transfer`."""

from typing import Any, Literal, Self

from pydantic import BaseModel, PositiveInt

from glasshead.device import Device
from glasshead.errors import ParameterError
from glasshead.images.scenes import CleanScenesParams
from glasshead.models.pretrained import PretrainedParams
from glasshead.training.augment import PRESETS, NamedAugmentation
from glasshead.training.params import TrainingParams
from glasshead.training.phases import StrategyParams


class ParentParams(BaseModel, extra="forbid", frozen=True):
    """How the parent network is trained from scratch, on scenes with another seed and other colours."""

    scenes: CleanScenesParams = CleanScenesParams(train=4800, test=600, size=64)
    augmentation: NamedAugmentation = PRESETS["baseline"]
    training: TrainingParams = TrainingParams()


class TrainTransferParams(BaseModel, extra="forbid", frozen=True):
    """The network, the origin of its weights, its input, and how it is fine-tuned."""

    network: PretrainedParams = PretrainedParams()
    image_size: Literal["auto"] | PositiveInt = "auto"
    largest_size: PositiveInt = 224
    strategy: StrategyParams = StrategyParams()
    augmentation: NamedAugmentation = PRESETS["baseline"]
    training: TrainingParams = TrainingParams()
    parent: ParentParams = ParentParams()
    memory_mb: PositiveInt = 4096
    threads: PositiveInt | None = None
    device: Device = "auto"

    def varied(self, network: dict[str, Any], strategy: dict[str, Any]) -> Self:
        """Return a copy with the given fields of `network` and `strategy`, which a comparison varies.

        Raises ParameterError if one of these fields was set, as the setting would have no effect.
        """
        changes = {"network": network, "strategy": strategy}
        for block, fields in changes.items():
            if chosen := sorted(fields.keys() & getattr(self, block).model_fields_set):
                raise ParameterError(
                    f"The pipeline transfer_comparison chooses {block}.{chosen[0]} itself. Remove {block}.{chosen[0]} "
                    "from `transfer_comparison`."
                )
        return self.model_copy(
            update={
                block: getattr(self, block).model_copy(update=fields)
                for block, fields in changes.items()
            }
        )
