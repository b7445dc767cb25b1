"""Parameters of `embed`."""

from typing import Literal

from pydantic import BaseModel, NonNegativeInt, PositiveInt

from glasshead.device import Device
from glasshead.embedding.packed import Precision
from glasshead.models.towers import Output


class RayParams(BaseModel, extra="forbid", frozen=True):
    """The Ray engine: `address` of a cluster, None to start Ray here; `max_retries` after a worker died."""

    address: str | None = None
    workers: PositiveInt | Literal["auto"] = "auto"
    max_retries: NonNegativeInt = 1


class EmbedParams(BaseModel, extra="forbid", frozen=True):
    """`batch_size`: images in a forward pass. `shard_rows`: images in a shard; a killed run loses at most one shard.

    `output`: which output of the image encoder is stored.
    """

    engine: Literal["local", "ray"] = "local"
    batch_size: PositiveInt | Literal["auto"] = "auto"
    shard_rows: PositiveInt = 1024
    precision: Precision | Literal["auto"] = "auto"
    dtype: Literal["float32", "float16"] = "float32"
    device: Device = "auto"
    output: Output = "projected"
    ray: RayParams = RayParams()
