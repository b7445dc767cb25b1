"""What timm does to an image before its models, as a `transformers` image processor.

timm writes it into the model's configuration (`pretrained_cfg`: input size, share of it that the centre crop keeps,
interpolation, mean and std). Source: `timm.data.create_transform`, whose resize is Pillow's: up to one level of 255
away from this one.
"""

import math
from pathlib import Path
from typing import Any

from PIL import Image
from timm.data.config import resolve_data_config
from timm.models import resolve_model_input_args
from torchvision.transforms.v2 import functional
from transformers import CLIPImageProcessor


class TimmImageProcessor(CLIPImageProcessor):
    """CLIP's processor, but where as many pixels cannot be cut off on either side, it rounds as torchvision does."""

    def center_crop(self, image: Any, size: Any, *_: Any, **__: Any) -> Any:
        return functional.center_crop(image, [size.height, size.width])


def load_timm_processor(folder: Path) -> TimmImageProcessor:
    """Return the processor of timm's model in `folder`; ValueError where it does more than a centre crop."""
    config = resolve_model_input_args(f"local-dir:{folder}")["pretrained_cfg"]
    data = resolve_data_config(pretrained_cfg=config)
    if data["crop_mode"] != "center":
        raise ValueError(f"its crop mode is {data['crop_mode']!r}, not 'center'")
    _, height, width = data["input_size"]
    return TimmImageProcessor(
        size={"shortest_edge": math.floor(height / data["crop_pct"])},
        crop_size={"height": height, "width": width},
        resample=Image.Resampling[data["interpolation"].upper()],
        image_mean=list(data["mean"]),
        image_std=list(data["std"]),
    )
