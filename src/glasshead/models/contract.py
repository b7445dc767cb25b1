"""What a network from outside reads and returns: the part that its file does not say, and the whole."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import BaseModel, BeforeValidator, Field, PositiveFloat, PositiveInt
from torch import Tensor

from glasshead.errors import ModelError
from glasshead.models.processor import (
    CLIPImageProcessor,
    TorchvisionImageProcessor,
    as_saved,
    from_saved,
    input_size,
)

Channels = Literal["rgb", "bgr"]
Outputs = Literal["logits", "probabilities"]
Three = Annotated[tuple[float, ...], Field(min_length=3, max_length=3)]
STRETCH = "stretch"
FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}  # Pillow's numbers
NEEDED = ("classes", "input_size", "mean", "std")


def _names(value: Any) -> Any:
    """Read a text file with a name in each line, if `value` is its path."""
    if not isinstance(value, str | Path):
        return value
    try:
        lines = Path(value).expanduser().read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"external.contract.classes: {value} cannot be read: {error}. Give a text file with the name of a class in "
            "each line, or a list of names."
        ) from error
    return [line.strip() for line in lines if line.strip()]


class ContractParams(BaseModel, extra="forbid", frozen=True):
    """What the user says about a network. What is None is read from its file, or has the value in brackets.

    Attributes:
        classes: names of the outputs in order, or the path of a text file with a name in each line.
        mapping: for each class of the images, the classes of the network that belong to it, by name or by number from
            0. Classes of the network that are not named are ignored [the names are those of the images' classes].
        input_size: side in pixels of the square that the network reads.
        resize: pixels of the shorter side before the middle square is cropped [input_size]. stretch: the whole image
            is brought to the square, whatever its shape.
        interpolation: the filter that resizes [bilinear].
        channels: their order [rgb].
        range: the largest value of a channel, before mean and std: 1 or 255 [1].
        mean, std: subtracted from each channel, and then what it is divided by, on the scale of `range`.
        outputs: logits or probabilities [logits].
    """

    classes: Annotated[tuple[str, ...], BeforeValidator(_names)] | None = None
    mapping: dict[str, tuple[str | int, ...]] | None = None
    input_size: PositiveInt | None = None
    resize: PositiveInt | Literal["stretch"] | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None
    channels: Channels | None = None
    range: Literal[1, 255] | None = None
    mean: Three | None = None
    std: Annotated[tuple[PositiveFloat, ...], Field(min_length=3, max_length=3)] | None = None
    outputs: Outputs | None = None


class Contract(NamedTuple):
    """The whole contract.

    Attributes:
        classes: the network's own classes, in the order of its outputs.
        processor: resizes and crops images, and holds mean and std, for values from 0 to 1.
        channels, outputs: as in `ContractParams`.
        range: likewise; it is already part of the processor's mean and std.
    """

    classes: tuple[str, ...]
    processor: CLIPImageProcessor
    channels: Channels = "rgb"
    range: int = 1
    outputs: Outputs = "logits"

    def normalised(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return RGB images in [0, 1] as the network reads them."""
        mean = images.new_tensor(self.processor.image_mean)[:, None, None]
        std = images.new_tensor(self.processor.image_std)[:, None, None]
        ordered = images.flip(1) if self.channels == "bgr" else images
        return (ordered - mean) / std

    def as_logits(self, outputs: Float[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        """Return the network's outputs as logits; those of probabilities are their logarithms."""
        if self.outputs == "logits":
            return outputs
        return outputs.clamp_min(torch.finfo(outputs.dtype).tiny).log()

    @property
    def settings(self) -> dict[str, Any]:
        """The contract as JSON values, from which `from_settings` makes it again."""
        return {
            "classes": list(self.classes),
            "processor": as_saved(self.processor),
            "channels": self.channels,
            "range": self.range,
            "outputs": self.outputs,
        }

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "Contract":
        """Return the contract that has these settings."""
        described = dict(settings) | {
            "classes": tuple(settings["classes"]),
            "processor": from_saved(settings["processor"]),
        }
        return cls(**described)


def complete(said: ContractParams, read: Mapping[str, Any]) -> Contract:
    """Return the contract of what the user said and, for the rest, of what was read from the network's file.

    `read` may hold any field of `ContractParams`, and `processor`. Mean and std of the result are for values from 0 to
    1, in the order of the network's channels.

    Raises ModelError, with the names of the fields, if neither says what has no usual value.
    """
    given = said.model_dump(exclude_none=True)
    known = {**read, **given}
    processor: CLIPImageProcessor | None = read.get("processor")
    needed = NEEDED if processor is None else ("classes",)
    if lacking := [f"external.contract.{name}" for name in needed if name not in known]:
        raise ModelError(
            f"The network's file does not say what it reads and returns. Set {', '.join(lacking)}."
        )
    scale = known.get("range", 1)
    if processor is None:
        processor = with_size(TorchvisionImageProcessor(), known["input_size"], known.get("resize"))
        changes = {"interpolation": "bilinear"} | known
    else:
        if "input_size" in given or "resize" in given:
            size = given.get("input_size", input_size(processor))
            processor = with_size(processor, size, given.get("resize"))
        changes = given
    update: dict[str, Any] = {}
    if "interpolation" in changes:
        update["resample"] = FILTERS[changes["interpolation"]]
    for name in ("mean", "std"):
        if name in changes or "range" in given:  # on the scale of range
            values = changes.get(name, getattr(processor, f"image_{name}"))
            update[f"image_{name}"] = [value / scale for value in values]
    return Contract(
        tuple(known["classes"]),
        processor.model_copy(update=update),
        known.get("channels", "rgb"),
        scale,
        known.get("outputs", "logits"),
    )


def with_size(
    processor: CLIPImageProcessor, size: int, resize: int | str | None = None
) -> CLIPImageProcessor:
    """Return a processor that gives squares of `size` pixels.

    Before the crop, the shorter side has `resize` pixels, or both sides have `size` if that is stretch. None keeps the
    processor's own way: a longer shorter side stays longer by the same factor.
    """
    square = {"height": size, "width": size}
    own = processor.size.get("shortest_edge")
    if resize is None:
        cropped = (processor.crop_size or square)["height"]
        resize = STRETCH if own is None else round(own * size / cropped)
    return processor.model_copy(
        update={
            "size": square if resize == STRETCH else {"shortest_edge": resize},
            "crop_size": square,
            "do_center_crop": True,
        }
    )


def groups_of(
    contract: Contract, mapping: Mapping[str, Sequence[str | int]] | None, classes: tuple[str, ...]
) -> tuple[tuple[int, ...], ...]:
    """Return for each of `classes`, those of the images, the numbers of the network's outputs that belong to it.

    A class of the network can be named by its whole name, by its first name before a comma, or by its number.

    Raises ModelError: a class of the images is in no group, or a group names something that the network does not have,
        or a class of the network is in two groups.
    """
    if mapping is None:
        mapping = {name: (name,) for name in contract.classes}
        hint = " Set external.contract.mapping to a list of the network's classes for each class of the images."
    else:
        hint = " Correct external.contract.mapping."
    lacking = [name for name in classes if not mapping.get(name)]
    strange = [name for name in mapping if name not in classes]
    if lacking or strange:
        raise ModelError(
            f"The classes of the network ({_some(contract.classes)}) are not those of the images ({_some(classes)}): "
            f"{_some(lacking or strange)} {'is' if len(lacking or strange) == 1 else 'are'} only in the "
            f"{'images' if lacking else 'network' if hint.startswith(' Set') else 'mapping'}.{hint}"
        )
    groups = tuple(
        tuple(_number_of(contract.classes, own, name) for own in mapping[name]) for name in classes
    )
    numbers = [number for group in groups for number in group]
    if twice := [number for number in set(numbers) if numbers.count(number) > 1]:
        raise ModelError(
            f"external.contract.mapping gives the network's class {contract.classes[min(twice)]!r} to two classes of "
            "the images. Give it to one."
        )
    return groups


def _number_of(names: tuple[str, ...], wanted: str | int, group: str) -> int:
    if isinstance(wanted, str) and wanted not in names and wanted.isdecimal():
        wanted = int(wanted)
    if isinstance(wanted, int):
        matches = [wanted] if 0 <= wanted < len(names) else []
    else:
        matches = [number for number, name in enumerate(names) if name == wanted] or [
            number for number, name in enumerate(names) if name.split(",")[0] == wanted
        ]
    if len(matches) != 1:
        found = "several classes" if matches else "no class"
        near = difflib.get_close_matches(str(wanted), names, n=3)
        raise ModelError(
            f"external.contract.mapping.{group}: the network has {found} called {wanted!r}. "
            + (f"Near names are {'; '.join(near)}. " if near else "")
            + f"Name a class by its whole name or by its number from 0 to {len(names) - 1}."
        )
    return matches[0]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f", … ({len(names)} in all)" if len(names) > 5 else "")
