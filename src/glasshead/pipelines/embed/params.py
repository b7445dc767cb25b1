"""Parameters of `embed`."""

from typing import Literal

from pydantic import BaseModel, PositiveInt

from glasshead.device import Device
from glasshead.embedding.packed import Precision
from glasshead.models.clip import Output


class EmbedParams(BaseModel, extra="forbid", frozen=True):
    """`batch_size` images a forward pass; `shard_rows` images a shard, the most that a killed run loses.

    `output` is what the image encoder gives; `texts` embeds the taxonomy's prompts too.
    """

    batch_size: PositiveInt | Literal["auto"] = "auto"
    shard_rows: PositiveInt = 1024
    precision: Precision | Literal["auto"] = "auto"
    dtype: Literal["float32", "float16"] = "float32"
    device: Device = "auto"
    output: Output = "projected"
    texts: bool = False
