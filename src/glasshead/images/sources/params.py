"""Parameters of `ingest`: the chosen source, and a block of parameters for each source that exists."""

from typing import Self

from pydantic import BaseModel, Field, model_validator

from glasshead.images.scenes import ScenesParams
from glasshead.images.sources.base import SourceParams
from glasshead.images.sources.cifar10 import CIFAR10Params
from glasshead.images.sources.hub import HubParams
from glasshead.images.sources.image_folder import ImageFolderParams
from glasshead.images.sources.parquet import ParquetParams


class IngestParams(BaseModel, extra="forbid", frozen=True):
    """`source` names the block that is read; the other blocks are ignored.

    `max_bad_fraction` is the largest fraction of images that may be quarantined.
    """

    source: str = "scenes"
    max_bad_fraction: float = Field(default=0.01, ge=0.0, le=1.0)
    scenes: ScenesParams = ScenesParams()
    cifar10: CIFAR10Params = CIFAR10Params()
    parquet: ParquetParams = ParquetParams()
    image_folder: ImageFolderParams = ImageFolderParams()
    hub: HubParams = HubParams()

    @property
    def chosen(self) -> SourceParams:
        """The block of the chosen source."""
        return getattr(self, self.source)

    @model_validator(mode="after")
    def _source_is_located(self) -> Self:
        known = [name for name, block in self if isinstance(block, SourceParams)]
        if self.source not in known:
            raise ValueError(
                f"ingest.source is {self.source!r}. Set it to one of {', '.join(known)}."
            )
        field = self.chosen.location
        if field and getattr(self.chosen, field) is None:
            raise ValueError(
                f"ingest.source is {self.source}. Set ingest.{self.source}.{field} too."
            )
        return self
