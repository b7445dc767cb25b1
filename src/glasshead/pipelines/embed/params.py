"""Parameters of `embed`."""

from pydantic import BaseModel, PositiveInt

from glasshead.device import Device


class EmbedParams(BaseModel, extra="forbid", frozen=True):
    """`batch_size` images a forward pass; `shard_rows` images a shard, the most that a killed run loses."""

    batch_size: PositiveInt
    shard_rows: PositiveInt
    device: Device = "auto"
