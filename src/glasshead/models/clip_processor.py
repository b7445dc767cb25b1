"""The settings of CLIP's image processor; that of `transformers`, slow to import, is asked for when it is to work."""

import json
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from PIL import Image
from pydantic import BaseModel, BeforeValidator

Size = dict[str, int] | None


def _named(name: str, *others: str) -> BeforeValidator:
    """Let a bare number, as old files have it, stand for a size."""
    return BeforeValidator(
        lambda size: dict.fromkeys((name, *others), size) if isinstance(size, int) else size
    )


class CLIPImageProcessor(BaseModel):
    """What transformers' class of this name reads; what a file leaves out is as it is there."""

    crop_size: Annotated[Size, _named("height", "width")] = {"height": 224, "width": 224}
    do_center_crop: bool = True
    do_convert_rgb: bool = True
    do_normalize: bool = True
    do_rescale: bool = True
    do_resize: bool = True
    image_mean: list[float] = [0.48145466, 0.4578275, 0.40821073]
    image_std: list[float] = [0.26862954, 0.26130258, 0.27577711]
    resample: int = Image.Resampling.BICUBIC
    rescale_factor: float = 1 / 255
    size: Annotated[Size, _named("shortest_edge")] = {"shortest_edge": 224}

    @classmethod
    def from_pretrained(cls, folder: Path) -> Self:
        """Return the processor that was saved in `folder`, alone or with a tokenizer.

        Raises OSError where there is none, ValueError where it is damaged.
        """
        alone = folder / "preprocessor_config.json"
        if alone.is_file():
            return cls.model_validate_json(alone.read_bytes())
        joint = json.loads((folder / "processor_config.json").read_text())
        return cls.model_validate(joint["image_processor"])

    def to_json_string(self) -> str:
        """Return the JSON that transformers' class would save."""
        settings = self.model_dump() | {"image_processor_type": type(self).__name__}
        return json.dumps(settings, indent=2, sort_keys=True) + "\n"

    def __call__(self, images: Any, **options: Any) -> Any:
        """Return what transformers' class makes of `images`."""
        return self._theirs(images, **options)

    @cached_property
    def _theirs(self) -> Any:
        from transformers import CLIPImageProcessor

        return CLIPImageProcessor(**self.model_dump())
