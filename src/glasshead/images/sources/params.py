"""Parameters of `ingest`: the chosen source, and one block for each."""

from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from glasshead.images.scenes import ScenesParams
from glasshead.images.sources.cifar10 import CIFAR10Params
from glasshead.images.sources.hub import HubParams
from glasshead.images.sources.image_folder import ImageFolderParams
from glasshead.images.sources.parquet import ParquetParams

LOCATIONS = {"parquet": "path", "image_folder": "path", "hub": "id"}


class IngestParams(BaseModel, extra="forbid", frozen=True):
    """`source` names the block that is read; the others are ignored. `max_bad_share`: quarantined, of all."""

    source: Literal["scenes", "cifar10", "parquet", "image_folder", "hub"] = "scenes"
    max_bad_share: float = Field(default=0.01, ge=0.0, le=1.0)
    scenes: ScenesParams = ScenesParams()
    cifar10: CIFAR10Params = CIFAR10Params()
    parquet: ParquetParams = ParquetParams()
    image_folder: ImageFolderParams = ImageFolderParams()
    hub: HubParams = HubParams()

    @model_validator(mode="after")
    def _source_is_located(self) -> Self:
        field = LOCATIONS.get(self.source)
        if field and getattr(getattr(self, self.source), field) is None:
            raise ValueError(f"source is {self.source}: set ingest.{self.source}.{field} too")
        return self
