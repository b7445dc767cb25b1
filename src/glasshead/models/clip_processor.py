"""CLIP's image processor, to the bit that of `transformers`, which takes seconds to import.

Source of each rule: `CLIPImageProcessor` of transformers 5, backed by torchvision. Why it is not imported from there:
docs/decisions/0032.
"""

import json
import math
import platform
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from PIL import Image
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from torch import Tensor

from glasshead.errors import BackboneError

# By Pillow's numbers. Its other filters torch does not have.
MODES = {0: "nearest-exact", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
UNDONE = ("default_to_square", "do_pad", "use_square_size")


def _sized(*names: str) -> BeforeValidator:
    """Let a bare number, or a list of height and width, stand for a size; the number is that of each name."""

    def spelled_out(size: Any) -> Any:
        if isinstance(size, list):
            return dict(zip(("height", "width"), size, strict=False))
        return dict.fromkeys(names, size) if isinstance(size, int) else size

    return BeforeValidator(spelled_out)


def _keyed(*wanted: set[str]) -> AfterValidator:
    def check(size: dict[str, int]) -> dict[str, int]:
        if set(size) not in wanted:
            raise ValueError(f"a size of {', '.join(size) or 'nothing'} is not supported")
        return size

    return AfterValidator(check)


def _thrice(values: Any) -> Any:
    """Let one value stand for that of each channel."""
    values = values if isinstance(values, list) else [values]
    return values * 3 if len(values) == 1 else values


def _is_255th(factor: float) -> float:
    if not math.isclose(factor, 1 / 255):
        raise ValueError("only 1/255 is supported")
    return factor


EXACT = {"height", "width"}
Channels = (BeforeValidator(_thrice), Field(min_length=3, max_length=3))


class CLIPImageProcessor(BaseModel):
    """Transformers' class of this name; what a file leaves out is as it is there.

    Raises ValueError for settings that change pixels in a way that is not done here.
    """

    crop_size: Annotated[dict[str, PositiveInt], _sized("height", "width"), _keyed(EXACT)] = {
        "height": 224,
        "width": 224,
    }
    do_center_crop: bool = True
    do_convert_rgb: bool = True
    do_normalize: Literal[True] = True
    do_rescale: Literal[True] = True
    do_resize: bool = True
    image_mean: Annotated[list[float], *Channels] = [0.48145466, 0.4578275, 0.40821073]
    image_std: Annotated[list[PositiveFloat], *Channels] = [0.26862954, 0.26130258, 0.27577711]
    resample: Literal[0, 1, 2, 3] = 3
    rescale_factor: Annotated[float, AfterValidator(_is_255th)] = 1 / 255
    size: Annotated[
        dict[str, PositiveInt], _sized("shortest_edge"), _keyed(EXACT, {"shortest_edge"})
    ] = {"shortest_edge": 224}

    @model_validator(mode="before")
    @classmethod
    def _refuse_undone(cls, given: Any) -> Any:
        undone = [name for name in UNDONE if isinstance(given, dict) and given.get(name)]
        if undone:
            raise ValueError(f"{', '.join(undone)}: not supported")
        return given

    @classmethod
    def from_pretrained(cls, folder: Path) -> Self:
        """Return the processor that was saved in `folder`, with a tokenizer or, where there is none of these, alone.

        Raises BackboneError, which names the file, where there is none or it is damaged or not supported.
        """
        joint, alone = folder / "processor_config.json", folder / "preprocessor_config.json"
        path = joint
        try:
            settings = json.loads(joint.read_bytes()) if joint.is_file() else {}
            settings = settings.get("image_processor")
            if settings is None:
                path = alone
                settings = json.loads(alone.read_bytes())
            return cls.model_validate(settings)
        except (AttributeError, OSError, ValueError) as error:
            raise BackboneError(
                f"The backbone folder {folder} has no readable {path.name}: {error}"
            ) from error

    def to_json_string(self) -> str:
        """Return the JSON that transformers' class would save."""
        settings = self.model_dump() | {"image_processor_type": type(self).__name__}
        return json.dumps(settings, indent=2, sort_keys=True) + "\n"

    def __call__(
        self,
        images: list[Image.Image] | UInt8[Tensor, "b 3 _ _"],
        *,
        do_rescale: bool = True,
        do_normalize: bool = True,
        return_tensors: Literal["pt"] = "pt",
    ) -> dict[str, Tensor]:
        """Return the pixels (b, 3, h, w) of `images`, by the name that they have in transformers.

        Float32, or uint8 where they are neither rescaled nor normalised; on the device that they were on. Raises
        ValueError for an image that is not RGB and not to be converted.
        """
        if isinstance(images, Tensor):
            pixels = self._resize_and_crop(images.contiguous())
        else:
            pixels = torch.cat([self._resize_and_crop(self._pixels(image)) for image in images])
        if do_normalize:
            unit = 1 / self.rescale_factor if do_rescale else 1
            mean, std = (
                (torch.tensor(values, device=pixels.device) * unit).view(3, 1, 1)
                for values in (self.image_mean, self.image_std)
            )
            pixels = (pixels.float() - mean) / std
        elif do_rescale:
            pixels = pixels * self.rescale_factor
        return {"pixel_values": pixels}

    def _pixels(self, image: Image.Image) -> UInt8[Tensor, "1 3 h w"]:
        if self.do_convert_rgb:
            image = _on_white(image)
        elif image.mode != "RGB":
            raise ValueError(f"an image is {image.mode}, not RGB, and is not to be converted")
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].contiguous()

    def _resize_and_crop(self, pixels: UInt8[Tensor, "b 3 _ _"]) -> UInt8[Tensor, "b 3 h w"]:
        if self.do_resize:
            pixels = _resize(pixels, self._resized(*pixels.shape[2:]), MODES[self.resample])
        if self.do_center_crop:
            pixels = _centre_crop(pixels, self.crop_size["height"], self.crop_size["width"])
        return pixels

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width that an image of these is resized to."""
        if "height" in self.size:
            return self.size["height"], self.size["width"]
        short = self.size["shortest_edge"]
        long = int(short * max(height, width) / min(height, width))
        return (long, short) if width <= height else (short, long)


def _on_white(image: Image.Image) -> Image.Image:
    """Return `image` as RGB, what is transparent on a white ground."""
    if "A" in image.getbands() or image.info.get("transparency") is not None:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _resize(
    pixels: UInt8[Tensor, "b 3 _ _"], size: tuple[int, int], mode: str
) -> UInt8[Tensor, "b 3 h w"]:
    if pixels.shape[2:] == size:
        return pixels
    if mode == "nearest-exact":
        return F.interpolate(pixels, size, mode=mode)
    if mode == "lanczos" and pixels.device.type != "cpu":  # where torch does not have it
        mode = "bicubic"
    if _resizes_bytes(pixels.device, mode):
        return F.interpolate(pixels, size, mode=mode, align_corners=False, antialias=True)
    resized = F.interpolate(pixels.float(), size, mode=mode, align_corners=False, antialias=True)
    return resized.clamp(0, 255).round().to(torch.uint8)


def _resizes_bytes(device: torch.device, mode: str) -> bool:
    """Whether torchvision resizes uint8 as it is, as it does where torch can, bilinearly where that is faster."""
    capable = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    fast = mode != "bilinear" or capable or platform.machine() in ("aarch64", "arm64")
    return device.type == "cpu" and fast


def _centre_crop(
    pixels: UInt8[Tensor, "b 3 _ _"], height: int, width: int
) -> UInt8[Tensor, "b 3 h w"]:
    """Cut off, or add in black, as much on either side; of an odd number the one more is on the right or below."""
    lacking = width - pixels.shape[3], height - pixels.shape[2]
    first = [int(each / 2) for each in lacking]
    edges = [edge for each, one in zip(lacking, first, strict=True) for edge in (one, each - one)]
    return F.pad(pixels, edges)
