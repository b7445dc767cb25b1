"""What brings an image to a backbone's input: a `transformers` image processor, of CLIP's transformer ours."""

from pathlib import Path
from typing import Any

from glasshead.errors import BackboneError
from glasshead.models.backbone import kind_of
from glasshead.models.clip_processor import CLIPImageProcessor


def load_processor(folder: Path) -> Any:
    """Return the image processor of the backbone in `folder`, which resizes as torchvision does.

    Pillow-backed ones differ from it by up to 0.015 a value. Raises BackboneError if there is none.
    """
    kind = kind_of(folder)
    source = "config.json (pretrained_cfg)" if kind == "timm" else "preprocessor_config.json"
    try:
        return _LOADERS[kind](folder)
    except BackboneError:
        raise
    except Exception as error:  # on damaged files the libraries raise almost anything
        raise BackboneError(
            f"The backbone folder {folder} has no readable {source}: {error}"
        ) from error


def _load_clip(folder: Path) -> Any:
    return CLIPImageProcessor.from_pretrained(folder)


def _load_siglip(folder: Path) -> Any:
    from transformers import SiglipImageProcessor

    return SiglipImageProcessor.from_pretrained(folder)


def _load_timm(folder: Path) -> Any:
    from glasshead.models.timm_processor import load_timm_processor

    return load_timm_processor(folder)


_LOADERS = {"clip": _load_clip, "siglip": _load_siglip, "timm": _load_timm}


def input_size(processor: Any) -> int:
    """Return the side in pixels of the images that `processor` gives; BackboneError unless they are square."""
    size = processor.crop_size if processor.do_center_crop else processor.size
    given = dict(size or {})
    height, width = given.get("height"), given.get("width")
    if height is None or height != width:
        raise BackboneError(
            f"The processor crops to {height} × {width} pixels; only square crops are supported."
        )
    return int(height)


def keeps_size(processor: Any) -> bool:
    """Whether `processor` leaves images alone that have its input size: what it resizes to is what it crops to."""
    resized = set(dict(processor.size).values()) if processor.do_resize else set()
    return resized <= {input_size(processor)}


def describe(processor: Any) -> dict[str, Any]:
    """Return what `processor` does, as JSON values: input size in pixels, resize, crop, mean and std per channel."""
    return {
        "backend": type(processor).__name__,
        "input_size": input_size(processor),
        "resize": dict(processor.size) if processor.do_resize else None,
        "resample": int(processor.resample),
        "centre_crop": dict(processor.crop_size) if processor.do_center_crop else None,
        "mean": list(processor.image_mean),
        "std": list(processor.image_std),
    }
