"""A frozen CLIP image encoder: found, loaded, keyed and described in one place.

A backbone is a folder that `transformers` wrote with `save_pretrained`, the name of one shipped in this package
(`nano-clip`), or a hub id with a revision. All three end in the same `from_pretrained` of a folder.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from pydantic import BaseModel
from torch import Tensor, nn

from glasshead.errors import BackboneError

# Raise it when the numbers that `ClipEncoder` returns for one image and one set of weights change.
ENCODER_CODE_VERSION = 1


class BackboneParams(BaseModel, extra="forbid", frozen=True):
    """A shipped name, a folder, or a hub id with an optional revision (branch, tag, commit).

    A revision counts for a hub id alone.
    """

    name: str = "nano-clip"
    revision: str | None = None


def resolve_backbone(backbone: BackboneParams) -> Path:
    """Return the folder that holds `backbone`'s configuration and safetensors weights.

    Raises:
        BackboneError: no such folder, no safetensors weights in it, or a hub id that cannot be fetched.
    """
    local = _local_folder(backbone.name)
    if local is not None:
        folder = local
    elif backbone.name.startswith((".", "~", "/")) or backbone.name.count("/") != 1:
        raise BackboneError(
            f"There is no backbone folder {backbone.name!r}. Set `backbone.name` to nano-clip, to a folder written by "
            "save_pretrained, or to a hub id such as openai/clip-vit-base-patch32."
        )
    else:
        folder = _fetch(backbone)
    for wanted, meaning in (
        ("config.json", "configuration"),
        ("*.safetensors", "safetensors weights"),
    ):
        if not any(folder.glob(wanted)):
            raise BackboneError(
                f"The backbone folder {folder} has no {meaning} ({wanted}). Write it with "
                "`model.save_pretrained(folder)` and `processor.save_pretrained(folder)`; pickled weights are refused."
            )
    return folder


def _local_folder(name: str) -> Path | None:
    """Return the folder of a shipped or a local backbone, None where `name` is neither."""
    shipped = Path(str(resources.files("glasshead"))) / "assets" / name
    if "/" not in name and shipped.is_dir():
        return shipped
    named = Path(name).expanduser()
    return named if named.is_dir() else None


def _as_used(backbone: BackboneParams) -> BackboneParams:
    """Return `backbone` without a revision where that has no meaning: in the provenance it would be an untruth."""
    local = _local_folder(backbone.name) is not None
    return backbone.model_copy(update={"revision": None}) if local else backbone


def _fetch(backbone: BackboneParams) -> Path:
    from huggingface_hub import snapshot_download

    try:
        patterns = ["*.json", "*.safetensors", "*.txt"]
        return Path(
            snapshot_download(backbone.name, revision=backbone.revision, allow_patterns=patterns)
        )
    except Exception as error:  # the hub client raises a dozen unrelated types when it is offline
        raise BackboneError(
            f"The hub model {backbone.name!r} (revision {backbone.revision or 'main'}) is not in the local cache and "
            f"could not be fetched: {type(error).__name__}. Connect once to fill the cache (HF_HOME says where it "
            "lies), or set `backbone.name` to a folder that holds the model. Offline, HF_HUB_OFFLINE=1 makes this "
            "fail at once."
        ) from error


def weights_hash(folder: Path) -> str:
    """Return the SHA-256 of the safetensors files and of the configuration that says how to read them, as hex."""
    digest = hashlib.sha256()
    for path in (folder / "config.json", *sorted(folder.glob("*.safetensors"))):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def processor_settings(backbone: BackboneParams) -> dict[str, Any]:
    """Return what the backbone's image processor does: input size in pixels, resize, crop, mean and std per channel."""
    processor = _load_processor(resolve_backbone(backbone))
    backbone = _as_used(backbone)
    return {
        "backbone": backbone.name,
        "revision": backbone.revision,
        "backend": type(processor).__name__,
        "input_size": _input_size(processor),
        "resize": dict(processor.size) if processor.do_resize else None,
        "resample": int(processor.resample),
        "centre_crop": dict(processor.crop_size) if processor.do_center_crop else None,
        "mean": list(processor.image_mean),
        "std": list(processor.image_std),
    }


def load_encoder(backbone: BackboneParams) -> "ClipEncoder":
    """Return the frozen encoder of `backbone`, in evaluation mode, float32, on the CPU.

    Raises:
        BackboneError: as `resolve_backbone`, or the weights do not fit the configuration.
    """
    from transformers import AutoConfig, CLIPVisionModelWithProjection

    folder = resolve_backbone(backbone)
    backbone = _as_used(backbone)
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(folder)
            vision_config = getattr(config, "vision_config", config)
            # A CLIPModel keeps the true one at its top.
            vision_config.projection_dim = config.projection_dim
            loaded: Any = CLIPVisionModelWithProjection.from_pretrained(
                folder,
                config=vision_config,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
            )
    except Exception as error:  # on damaged files and other models it raises almost anything
        raise BackboneError(
            f"The backbone in {folder} cannot be loaded as a CLIP image encoder: {error}"
        ) from error
    vision, report = loaded
    processor = _load_processor(folder)
    if report["missing_keys"]:
        missing = ", ".join(sorted(report["missing_keys"])[:3])
        raise BackboneError(
            f"The backbone in {folder} lacks weights ({missing}, …): is it a CLIP model?"
        )
    if _input_size(processor) != vision.config.image_size:
        raise BackboneError(
            f"The processor in {folder} crops to {_input_size(processor)} pixels, but the model reads "
            f"{vision.config.image_size}."
        )
    return ClipEncoder(vision, processor, backbone, weights_hash(folder)).eval()


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep back the progress bars, and the report that the text tower's weights were not asked for."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _load_processor(folder: Path) -> Any:
    """Load the torchvision-backed processor: Pillow's differs from it by up to 0.015 a value."""
    from transformers import CLIPImageProcessor

    try:
        return CLIPImageProcessor.from_pretrained(folder)
    except Exception as error:  # as in `load_encoder`
        raise BackboneError(
            f"The backbone folder {folder} has no readable preprocessor_config.json: {error}"
        ) from error


def _input_size(processor: Any) -> int:
    crop = dict(processor.crop_size or {}) if processor.do_center_crop else {}
    height, width = crop.get("height"), crop.get("width")
    if height is None or height != width:
        raise BackboneError(
            f"The processor crops to {height} × {width} pixels; only square crops are supported."
        )
    return int(height)


class ClipEncoder(nn.Module):
    """CLIP's image tower and projection: images in [0, 1] to embeddings, whose L2 norm is kept as it is.

    Radford et al. 2021, arXiv:2103.00020. Parameters are frozen; gradients with respect to the images flow.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, vision: nn.Module, processor: Any, backbone: BackboneParams, weights: str
    ) -> None:
        super().__init__()
        self.vision = vision.eval().requires_grad_(False)
        self.processor = processor
        self.backbone = backbone
        self.weights = weights
        self.input_size = _input_size(processor)
        self.dimension: int = vision.config.projection_dim  # type: ignore[union-attr,assignment]
        self.register_buffer(
            "mean", torch.tensor(processor.image_mean).view(1, 3, 1, 1), persistent=False
        )
        self.register_buffer(
            "std", torch.tensor(processor.image_std).view(1, 3, 1, 1), persistent=False
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image's output."""
        return (self.dimension,)

    @property
    def key(self) -> str:
        """Hex digest of all that decides an embedding besides the image: weights, processor, output, dtype, code."""
        described = {
            "weights": self.weights,
            "processor": self.processor.to_json_string(),
            "output": "projected",
            "dtype": str(self.vision.dtype),
            "code": ENCODER_CODE_VERSION,
        }
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:32]

    def prepare(self, images: list[Image.Image]) -> UInt8[Tensor, "b 3 h w"]:
        """Resize and centre-crop RGB images of any size as the processor does; values stay 0 to 255."""
        prepared = self.processor(
            images, do_rescale=False, do_normalize=False, return_tensors="pt"
        )["pixel_values"]
        return prepared.round().clamp(0, 255).to(torch.uint8)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Return projected embeddings of images in [0, 1] at the input size."""
        return self.vision(pixel_values=(images - self.mean) / self.std).image_embeds
