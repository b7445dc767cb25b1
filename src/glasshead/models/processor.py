"""Image processors: resize and crop images of any size to the pixels that a network reads, by torch only.

They give the same pixels as transformers' `CLIPImageProcessor` and `SiglipImageProcessor` on torchvision; on a CPU
without AVX2, up to one level of 255 apart. docs/decisions/0032 says why transformers' classes are not imported.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from PIL import Image
from pydantic import AfterValidator, BaseModel, Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor

from glasshead.errors import BackboneError
from glasshead.models.backbone import kind_of

Resampling = Literal["bilinear", "bicubic"]

# Filters by Pillow's number for each. torch lacks Pillow's other filters.
MODES = {0: "nearest-exact", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
SQUARE = ("height", "width")
UNDONE = ("default_to_square", "do_pad", "use_square_size")


def _check_size(size: Mapping[str, int]) -> Mapping[str, int]:
    if set(size) not in ({"height", "width"}, {"shortest_edge"}):
        raise ValueError(
            f"a size of {', '.join(size) or 'nothing'} is not supported. Write height and width, or shortest_edge"
        )
    return size


def _check_factor(factor: float) -> float:
    if not math.isclose(factor, 1 / 255):
        raise ValueError("only 1/255 is supported")
    return factor


Size = Annotated[dict[str, PositiveInt], AfterValidator(_check_size)]
Three = Field(min_length=3, max_length=3)


class CLIPImageProcessor(BaseModel):
    """The settings of transformers' class of this name, with the same defaults.

    `sides` are the sides that a single number as size stands for. Raises ValueError for unsupported settings.
    """

    sides: ClassVar[tuple[str, ...]] = ("shortest_edge",)

    crop_size: Size | None = {"height": 224, "width": 224}
    do_center_crop: bool | None = True
    do_convert_rgb: bool = True
    do_normalize: Literal[True] = True
    do_rescale: Literal[True] = True
    do_resize: bool = True
    image_mean: Annotated[list[float], Three] = [0.48145466, 0.4578275, 0.40821073]
    image_std: Annotated[list[PositiveFloat], Three] = [0.26862954, 0.26130258, 0.27577711]
    resample: Literal[0, 1, 2, 3] = 3
    rescale_factor: Annotated[float, AfterValidator(_check_factor)] = 1 / 255
    size: Size = {"shortest_edge": 224}

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """Expand numbers and lists to sizes, and single values to all channels."""
        if undone := [name for name in UNDONE if settings.get(name)]:
            raise ValueError(f"{', '.join(undone)}: not supported")
        spelled = dict(settings)
        for name, sides in (("crop_size", SQUARE), ("size", cls.sides)):
            size = settings.get(name)
            if isinstance(size, int):
                spelled[name] = dict.fromkeys(sides, size)
            elif isinstance(size, list):
                spelled[name] = dict(zip(SQUARE, size, strict=False))
        for name in {"image_mean", "image_std"} & set(settings):
            values = settings[name] if isinstance(settings[name], list) else [settings[name]]
            spelled[name] = values * 3 if len(values) == 1 else values
        return spelled

    @model_validator(mode="after")
    def _check_crop(self) -> "CLIPImageProcessor":
        if self.do_center_crop and (self.crop_size is None or "height" not in self.crop_size):
            raise ValueError(
                f"a size of {', '.join(self.crop_size or ['nothing'])} is not supported as crop_size"
            )
        return self

    def to_json_string(self) -> str:
        """Return the JSON that transformers' class would save."""
        settings = self.model_dump(exclude_none=True)
        settings["image_processor_type"] = type(self).__name__
        return json.dumps(settings, indent=2, sort_keys=True) + "\n"

    def prepare(
        self, images: list[Image.Image] | UInt8[Tensor, "b 3 _ _"]
    ) -> UInt8[Tensor, "b 3 h w"]:
        """Return RGB images of any size resized and cropped, on their device; values 0 to 255."""
        if isinstance(images, Tensor):
            return self._resize_and_crop(images)
        return torch.cat([self._resize_and_crop(_pixels(image)) for image in images])

    def _resize_and_crop(self, pixels: UInt8[Tensor, "b 3 _ _"]) -> UInt8[Tensor, "b 3 h w"]:
        if self.do_resize:
            pixels = _resize(pixels, self._resized(*pixels.shape[2:]), MODES[self.resample])
        if not self.do_center_crop or self.crop_size is None:
            return pixels
        # F.pad cuts off where a number is below zero, and fills with black where it is above
        edges = []
        for lacking in (
            self.crop_size["width"] - pixels.shape[3],
            self.crop_size["height"] - pixels.shape[2],
        ):
            first = self._before(lacking)
            edges += [first, lacking - first]
        return F.pad(pixels, edges) if any(edges) else pixels

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width to which an image of `height` and `width` is resized."""
        if "height" in self.size:
            return self.size["height"], self.size["width"]
        short = self.size["shortest_edge"]
        long = int(short * max(height, width) / min(height, width))
        return (long, short) if width <= height else (short, long)

    def _before(self, lacking: int) -> int:
        """Return how many of the `lacking` rows or columns are added (or cut off, if negative) at the top or left."""
        return int(lacking / 2)


class SiglipImageProcessor(CLIPImageProcessor):
    """The settings of transformers' class of this name."""

    sides: ClassVar[tuple[str, ...]] = SQUARE

    crop_size: Size | None = None
    do_center_crop: bool | None = None
    image_mean: Annotated[list[float], Three] = [0.5, 0.5, 0.5]
    image_std: Annotated[list[PositiveFloat], Three] = [0.5, 0.5, 0.5]
    size: Size = {"height": 224, "width": 224}


class ViTImageProcessor(SiglipImageProcessor):
    """The settings of transformers' class of this name."""

    resample: Literal[0, 1, 2, 3] = 2


class BitImageProcessor(CLIPImageProcessor):
    """The settings of transformers' class of this name, which DINOv2 uses."""


class DeiTImageProcessor(CLIPImageProcessor):
    """The settings of transformers' class of this name."""

    sides: ClassVar[tuple[str, ...]] = SQUARE

    image_mean: Annotated[list[float], Three] = [0.5, 0.5, 0.5]
    image_std: Annotated[list[PositiveFloat], Three] = [0.5, 0.5, 0.5]
    size: Size = {"height": 256, "width": 256}


BY_NAME = {
    each.__name__: each
    for each in (
        CLIPImageProcessor,
        SiglipImageProcessor,
        ViTImageProcessor,
        BitImageProcessor,
        DeiTImageProcessor,
    )
}
BY_KIND = {
    "clip": CLIPImageProcessor,
    "siglip": SiglipImageProcessor,
    "vit": ViTImageProcessor,
}


class TorchvisionImageProcessor(CLIPImageProcessor):
    """CLIP's processor, but with torchvision's rounding if an odd number of rows or columns is cut off or added."""

    def _before(self, lacking: int) -> int:
        return lacking // 2 if lacking > 0 else -round(-lacking / 2)


class TimmImageProcessor(TorchvisionImageProcessor):
    """The processor of timm, which resizes and crops by torchvision."""


def as_saved(processor: CLIPImageProcessor) -> dict[str, Any]:
    """Return class and settings of `processor` as JSON values, for `from_saved`."""
    return {"type": type(processor).__name__} | processor.model_dump(exclude_none=True)


def from_saved(saved: Mapping[str, Any]) -> CLIPImageProcessor:
    """Return the processor that `as_saved` described; LookupError or ValueError if it is none."""
    settings = dict(saved)
    known = BY_NAME | {
        each.__name__: each for each in (TorchvisionImageProcessor, TimmImageProcessor)
    }
    return known[settings.pop("type")].model_validate(settings)


def resize_and_crop(
    images: list[Image.Image], size: int, interpolation: Resampling = "bilinear"
) -> UInt8[Tensor, "b 3 size size"]:
    """Return the middle square of RGB images whose shorter side is resized to `size` pixels, antialiased.

    Images of that size are unchanged.
    """
    resample = next(number for number, mode in MODES.items() if mode == interpolation)
    square = {"height": size, "width": size}
    processor = TorchvisionImageProcessor(
        size={"shortest_edge": size}, crop_size=square, resample=resample
    )
    return processor.prepare(images)


def load_processor(folder: Path) -> CLIPImageProcessor:
    """Return the image processor of the backbone in `folder`; BackboneError if there is none or it is damaged."""
    kind = kind_of(folder)
    if kind == "timm":
        return _load_timm_processor(folder)
    if kind == "torchvision":
        return _load_torchvision_processor(folder)
    joint, alone = folder / "processor_config.json", folder / "preprocessor_config.json"
    path = joint  # written beside a tokenizer; without it, `alone` is read
    try:
        settings = json.loads(joint.read_bytes()) if joint.is_file() else {}
        settings = settings.get("image_processor")
        if settings is None:
            path = alone
            settings = json.loads(alone.read_bytes())
        return _class_of(settings, kind).model_validate(settings)
    except (AttributeError, OSError, TypeError, ValueError) as error:
        raise BackboneError(
            f"The backbone folder {folder} has no readable {path.name}: {error}"
        ) from error


def _class_of(settings: Mapping[str, Any], kind: str) -> type[CLIPImageProcessor]:
    """Return the class that `settings` name, with or without Fast at its end, else the usual one of `kind`."""
    named = settings.get("image_processor_type") or settings.get("feature_extractor_type") or ""
    name = str(named).removesuffix("Fast").replace("FeatureExtractor", "ImageProcessor")
    return BY_NAME.get(name, BY_KIND[kind])


def _load_torchvision_processor(folder: Path) -> CLIPImageProcessor:
    try:
        settings = json.loads((folder / "config.json").read_text())["processor"]
        return TorchvisionImageProcessor.model_validate(settings)
    except (KeyError, OSError, TypeError, ValueError) as error:
        raise BackboneError(
            f"The backbone folder {folder} has no readable config.json (processor): {error}"
        ) from error


def _load_timm_processor(folder: Path) -> CLIPImageProcessor:
    """Return the processor in the configuration of a timm model (`pretrained_cfg`); only centre crops are supported.

    It differs by up to two levels of 255 from `timm.data.create_transform`, which resizes with Pillow.
    """
    from timm.data.config import resolve_data_config
    from timm.models import resolve_model_input_args

    try:
        config = resolve_model_input_args(f"local-dir:{folder}")["pretrained_cfg"]
        data = resolve_data_config(pretrained_cfg=config)
        if data["crop_mode"] != "center":
            raise ValueError(f"its crop mode is {data['crop_mode']!r}, not 'center'")
        _, height, width = data["input_size"]
        return TimmImageProcessor(
            size={"shortest_edge": math.floor(height / data["crop_pct"])},
            crop_size={"height": height, "width": width},
            resample=int(Image.Resampling[data["interpolation"].upper()]),
            image_mean=list(data["mean"]),
            image_std=list(data["std"]),
        )
    except Exception as error:  # on damaged files timm raises almost anything
        raise BackboneError(
            f"The backbone folder {folder} has no readable config.json (pretrained_cfg): {error}"
        ) from error


def input_size(processor: CLIPImageProcessor) -> int:
    """Return the side in pixels of prepared images; BackboneError unless they are square."""
    sides = (processor.crop_size if processor.do_center_crop else processor.size) or {}
    height, width = sides.get("height"), sides.get("width")
    if height is None or height != width:
        raise BackboneError(
            f"The processor crops to {height} × {width} pixels; only square crops are supported."
        )
    return height


def describe(processor: CLIPImageProcessor) -> dict[str, Any]:
    """Return the settings of `processor` as JSON values: input size in pixels, resize, crop, mean and std."""
    return {
        "backend": type(processor).__name__,
        "input_size": input_size(processor),
        "resize": processor.size if processor.do_resize else None,
        "resample": processor.resample,
        "centre_crop": processor.crop_size if processor.do_center_crop else None,
        "mean": processor.image_mean,
        "std": processor.image_std,
    }


def _pixels(image: Image.Image) -> UInt8[Tensor, "1 3 h w"]:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].contiguous()


def _resize(
    pixels: UInt8[Tensor, "b 3 _ _"], size: tuple[int, int], mode: str
) -> UInt8[Tensor, "b 3 h w"]:
    if pixels.shape[2:] == size:
        return pixels
    if mode == "nearest-exact":
        return F.interpolate(pixels, size, mode=mode)
    if pixels.device.type == "cpu":
        return F.interpolate(pixels, size, mode=mode, align_corners=False, antialias=True)
    mode = "bicubic" if mode == "lanczos" else mode  # torch has lanczos only on CPUs
    resized = F.interpolate(pixels.float(), size, mode=mode, align_corners=False, antialias=True)
    return resized.clamp(0, 255).round().to(torch.uint8)
