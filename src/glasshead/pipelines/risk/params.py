"""Parameters of `risk`."""

from typing import Any, Self

from pydantic import BaseModel, Field, PositiveInt, field_validator, model_validator

from glasshead.embedding.spatial import SpatialParams
from glasshead.images.risks import Risk
from glasshead.models.risk import RiskHeadParams
from glasshead.training.risk import RiskTraining


class RiskParams(BaseModel, extra="forbid", frozen=True):
    """The risks, and how their auditor is built, trained, measured and shown.

    Attributes:
        risks: the risks to learn, each with a map and a score of its own; a single risk may be given as text.
        features: how the frozen features are computed or loaded.
        head: how the head turns features into a map, and the map into a logit.
        training: how the head is trained.
        localisation_images: the largest number of test images with a risk, sampled at random, on which maps are
            compared with masks and marks are hidden.
        n_resamples: resamples of the bootstrap in the search for shortcuts.
        shown: images of each risk in a gallery.
        reviewed: images in the list to review.
    """

    risks: tuple[Risk, ...] = Field(min_length=1)
    features: SpatialParams = SpatialParams()
    head: RiskHeadParams = RiskHeadParams()
    training: RiskTraining = RiskTraining()
    localisation_images: PositiveInt = 1000
    n_resamples: PositiveInt = 1000
    shown: PositiveInt = 6
    reviewed: PositiveInt = 100

    @field_validator("risks", mode="before")
    @classmethod
    def _one_as_text(cls, raw: Any) -> Any:
        return [raw] if isinstance(raw, str) else raw

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len(set(self.names)) < len(self.names):
            raise ValueError(
                f"risk.risks: a name stands twice among {', '.join(self.names)}. Use each once."
            )
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the risks, in order."""
        return tuple(risk.name for risk in self.risks)
