"""Parameters of `embed`."""

from typing import Literal

from pydantic import BaseModel, PositiveInt

from glasshead.device import Device


class EmbedParams(BaseModel, extra="forbid", frozen=True):
    """`batch_size` images a forward pass; `shard_rows` images a shard, the most that a killed run loses."""

    batch_size: PositiveInt | Literal["auto"] = "auto"
    shard_rows: PositiveInt = 1024
    dtype: Literal["float32", "float16"] = "float32"
    device: Device = "auto"
