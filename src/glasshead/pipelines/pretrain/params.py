"""Parameters of `pretrain`."""

from pathlib import Path

from pydantic import BaseModel

from glasshead.device import Device
from glasshead.images.scenes import ScenesParams
from glasshead.models.nano_clip import NanoClipParams
from glasshead.training.contrastive import ContrastiveParams


class PretrainParams(BaseModel, extra="forbid", frozen=True):
    """Data, shape and recipe. `parquet` adds the train split of a folder in the Hugging Face image layout."""

    scenes: ScenesParams = ScenesParams(train=10000, test=1000)
    parquet: Path | None = None
    model: NanoClipParams = NanoClipParams()
    training: ContrastiveParams = ContrastiveParams()
    device: Device = "auto"
