"""Parameters of `train_transfer`."""

from typing import Any, Literal, Self

from pydantic import BaseModel, PositiveInt

from glasshead.device import Device
from glasshead.errors import ParameterError
from glasshead.images.scenes import CleanScenesParams
from glasshead.models.pretrained import PretrainedParams, names_backbone
from glasshead.training.augment import PRESETS, NamedAugmentation
from glasshead.training.params import TrainingParams
from glasshead.training.phases import StrategyParams

AUTO = "auto"


class ParentParams(BaseModel, extra="forbid", frozen=True):
    """How the parent network is trained from scratch, on scenes with another seed and other colours."""

    scenes: CleanScenesParams = CleanScenesParams(train=4800, test=600, size=64)
    augmentation: NamedAugmentation = PRESETS["baseline"]
    training: TrainingParams = TrainingParams()


class RecipeParams(BaseModel, extra="forbid", frozen=True):
    """How a network is fine-tuned, and on how many CPU threads; None: all."""

    strategy: StrategyParams = StrategyParams()
    augmentation: NamedAugmentation = PRESETS["baseline"]
    training: TrainingParams = TrainingParams()
    threads: PositiveInt | None = None


class TrainTransferParams(RecipeParams, frozen=True):
    """The network, the origin of its weights, its input, and how it is fine-tuned.

    `photographs` is the recipe that replaces the other one where `network.pretrained` is auto, and auto is a backbone.
    """

    network: PretrainedParams = PretrainedParams()
    image_size: Literal["auto"] | PositiveInt = "auto"
    largest_size: PositiveInt = 224
    photographs: RecipeParams | None = None
    parent: ParentParams = ParentParams()
    memory_mb: PositiveInt = 4096
    device: Device = "auto"

    def recipe_for(self, pretrained: str) -> RecipeParams:
        """Return the recipe for weights from `pretrained`, which may be what auto was found to be."""
        automatic = self.network.pretrained == AUTO and names_backbone(pretrained)
        return self.photographs if automatic and self.photographs else self

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
