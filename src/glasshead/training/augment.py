"""Augmentation of batches on their device: window, mirror image, crop, colour, RandAugment, cutout, MixUp and CutMix.

Resized crops, colour jitter, RandAugment, MixUp and CutMix are torchvision's. Each call draws one setting from torch's
global generator. So the first three are called for small groups of images, and all five within a seeded scope.
"""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, Self

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from torch import Tensor
from torchvision.transforms import v2

from glasshead.errors import ParameterError
from glasshead.seeds import torch_seeded

Pixels = UInt8[Tensor, "b 3 h w"] | Float[Tensor, "b 3 h w"]
# 2**64 / golden ratio, odd, as int64: Fibonacci hashing, Knuth 1973, section 6.4
GOLDEN = -7046029254386353131


class AugmentParams(BaseModel, extra="forbid", frozen=True):
    """The augmentation of train images; none by default."""

    crop_padding: NonNegativeInt = Field(
        default=0, description="largest shift of the crop in pixels; borders are reflected"
    )
    flip: Literal["none", "random", "alternating"] = Field(
        default="none",
        description="alternating: every image is mirrored in every other epoch, arXiv:2404.00498, section 3.6",
    )
    crop_area: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="least fraction of the image that a random crop covers, arXiv:1409.4842; 1: no such crop",
    )
    crop_scale: PositiveFloat = Field(
        default=1.0,
        description="side to which that crop is resized, as a fraction of the image's side. Below 1, objects keep the "
        "size that they have in whole images, and training is faster, arXiv:1906.06423",
    )
    colour_jitter: float = Field(
        default=0.0, ge=0, le=1, description="SimCLR's strength, arXiv:2002.05709, appendix A"
    )
    randaugment_operations: NonNegativeInt = Field(
        default=0, description="number of operations on each image, arXiv:1909.13719"
    )
    randaugment_magnitude: int = Field(default=9, ge=0, le=30)
    group: PositiveInt = Field(
        default=8,
        description="images that share one setting of the resized crop, colour jitter and RandAugment",
    )
    cutout: NonNegativeInt = Field(
        default=0, description="side in pixels of the square that is removed, arXiv:1708.04552"
    )
    mixup: NonNegativeFloat = Field(
        default=0.0, description="alpha of Beta(alpha, alpha), arXiv:1710.09412; 0 is off"
    )
    cutmix: NonNegativeFloat = Field(
        default=0.0,
        description="alpha of Beta(alpha, alpha), arXiv:1905.04899; beside mixup, each batch gets one of the two",
    )

    @model_validator(mode="after")
    def _scale_has_a_crop(self) -> Self:
        if self.crop_scale != 1 and self.crop_area == 1:
            raise ValueError(
                f"An augmentation with a crop_scale of {self.crop_scale:g} needs a crop_area below 1. Lower crop_area, "
                "or set crop_scale to 1."
            )
        return self


def _baseline(**added: float) -> AugmentParams:
    return AugmentParams.model_validate({"crop_padding": 4, "flip": "random"} | added)


PRESETS = {
    "none": AugmentParams(),
    "baseline": _baseline(),
    "colour": _baseline(colour_jitter=0.25),
    "randaugment": _baseline(randaugment_operations=2),
    "mixup": _baseline(mixup=0.2),
    "cutmix": _baseline(cutmix=1.0),
    "mixup_cutmix": _baseline(mixup=0.2, cutmix=1.0),
}


def _by_name(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value not in PRESETS:
        raise ValueError(f"There is no augmentation {value!r}. Choose one of {', '.join(PRESETS)}.")
    return PRESETS[value]


# the fields of AugmentParams, or the name of a preset
NamedAugmentation = Annotated[AugmentParams, BeforeValidator(_by_name)]


class Augmentation:
    """Augments batches of one data set of `classes` classes as `params` say."""

    def __init__(self, params: AugmentParams, classes: int) -> None:
        self.params = params
        self.classes = classes
        self._mixing = list(_mixing_transforms(params))

    def __call__(
        self, images: Pixels, labels: Int[Tensor, " b"], seed: int, epoch: int = 0
    ) -> tuple[Float[Tensor, "b 3 _ _"], Float[Tensor, "b k"]]:
        """Return images in [0, 1] and target probabilities, each row with sum 1, on the images' device.

        With `crop_scale`, the side of the images returned is that fraction of the side of `images`.

        `images` are uint8 or float in [0, 1]. All randomness comes from `seed`, on the CPU, so that devices agree;
        torch's own generator is unchanged. `epoch` counts from 0 and decides alternating flips.

        Raises ParameterError if `crop_padding` is not less than the images' side.
        """
        with torch_seeded(seed):
            images = self._window(images, epoch)
            for transform in _grouped_transforms(self.params, images.shape[-1]):
                images = torch.cat([transform(group) for group in images.split(self.params.group)])
            images = images.float() if images.is_floating_point() else images.float() / 255
            if self.params.cutout:
                images = cut_out(images, self.params.cutout)
            targets = F.one_hot(labels.long(), self.classes).float()
            if self._mixing:
                images, targets = v2.RandomChoice(self._mixing)(images, targets)
        return images, targets

    def _window(self, images: Pixels, epoch: int) -> Pixels:
        padding, flip = self.params.crop_padding, self.params.flip
        if not padding and flip == "none":
            return images
        if padding >= min(images.shape[-2:]):
            raise ParameterError(
                f"The augmentation's crop_padding is {padding}, but reflection needs less than the images' side of "
                f"{min(images.shape[-2:])} pixels. Lower crop_padding."
            )
        top, left = torch.randint(-padding, padding + 1, (2, len(images)))
        mirrored = torch.rand(len(images)) < (0.5 if flip == "random" else 0.0)
        if flip == "alternating":
            mirrored = coin_of_content(images) ^ bool(epoch % 2)
        return reflected_windows(images, top, left, mirrored)


def cut_out(images: Float[Tensor, "b 3 h w"], side: int) -> Float[Tensor, "b 3 h w"]:
    """Return images with a randomly placed square, cut off at the border, in the batch's mean colour."""
    height, width = images.shape[-2:]
    rows, columns = (
        _span(torch.randint(size, (len(images), 1)), side, size) for size in (height, width)
    )
    inside = (rows[:, None, :, None] & columns[:, None, None, :]).to(images.device)
    return torch.where(inside, images.mean(dim=(0, 2, 3), keepdim=True), images)


def coin_of_content(images: Pixels) -> Bool[Tensor, " b"]:
    """Return True or False for each image, with equal chances; only its pixels decide, on every device alike."""
    pixels = v2.functional.to_dtype(images, torch.uint8, scale=True).flatten(1).long()
    weights = torch.arange(1, pixels.shape[1] + 1, device=images.device)
    return (pixels * weights).sum(dim=1) * GOLDEN < 0


def _span(centre: Int[Tensor, "b 1"], side: int, size: int) -> Bool[Tensor, "b size"]:
    start = centre - side // 2
    positions = torch.arange(size)
    return (positions >= start) & (positions < start + side)


def _grouped_transforms(params: AugmentParams, side: int) -> Iterator[Callable[[Tensor], Tensor]]:
    if params.crop_area < 1:
        scale = (params.crop_area, 1.0)
        yield v2.RandomResizedCrop(round(params.crop_scale * side), scale=scale, antialias=True)
    if strength := params.colour_jitter:
        change = 0.8 * strength
        yield v2.ColorJitter(change, change, change, hue=0.2 * strength)
    if params.randaugment_operations:
        yield v2.RandAugment(params.randaugment_operations, params.randaugment_magnitude)


def _mixing_transforms(params: AugmentParams) -> Iterator[Callable[..., tuple[Tensor, Tensor]]]:
    if params.mixup:
        yield v2.MixUp(alpha=params.mixup)
    if params.cutmix:
        yield v2.CutMix(alpha=params.cutmix)


def reflected_windows(
    images: Shaped[Tensor, "b c h w"],
    top: Int[Tensor, " b"],
    left: Int[Tensor, " b"],
    mirrored: Bool[Tensor, " b"],
) -> Shaped[Tensor, "b c h w"]:
    """Return for each image the window of its size that begins `top` and `left` pixels from its corner.

    `top` and `left` may be negative, and must be smaller than the side. Borders are reflected without repeating the
    border pixel; `mirrored` windows are flipped. The batch is gathered once, on its device and in its dtype, channels
    last.
    """
    height, width = images.shape[-2:]
    top, left, mirrored = (setting.to(images.device)[:, None] for setting in (top, left, mirrored))
    across = torch.arange(width, device=images.device)
    rows = _reflect(top + torch.arange(height, device=images.device), height)
    columns = _reflect(left + torch.where(mirrored, across.flip(0), across), width)
    sample = torch.arange(len(images), device=images.device)[:, None, None]
    gathered = images.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]]
    return gathered.permute(0, 3, 1, 2)


def _reflect(positions: Int[Tensor, "b n"], size: int) -> Int[Tensor, "b n"]:
    last = size - 1
    return last - (last - positions.abs()).abs()
