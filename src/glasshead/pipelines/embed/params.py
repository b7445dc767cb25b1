"""Parameters of `embed`."""

from typing import Literal

from pydantic import BaseModel, PositiveInt

from glasshead.device import Device
from glasshead.embedding.packed import Precision


class EmbedParams(BaseModel, extra="forbid", frozen=True):
    """`batch_size` images a forward pass; `shard_rows` images a shard, the most that a killed run loses."""

    batch_size: PositiveInt | Literal["auto"] = "auto"
    shard_rows: PositiveInt = 1024
    precision: Precision | Literal["auto"] = "auto"
    dtype: Literal["float32", "float16"] = "float32"
    device: Device = "auto"
