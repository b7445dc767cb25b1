"""The folder of a backbone: how it is found, checked and hashed, and how its kind is read.

A backbone is given as a folder that `transformers` wrote with `save_pretrained` or timm with `save_for_hf`, as the name
of one shipped in this package (`nano-clip`) or in a package of its own (`imagenet-lite0`), by a library's name of its
architecture (`timm:convnext_tiny`, `torchvision:resnet50`) with or without a file of weights, or as a hub id with a
revision, whose files are fetched into a folder.
"""

import hashlib
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from PIL import Image
from pydantic import BaseModel, field_serializer, field_validator, model_validator

from glasshead.errors import BackboneError
from glasshead.models.libraries import check_known, library_folder, split_name, timm_hub_id
from glasshead.models.packaged import PACKAGES, packaged_folder

if TYPE_CHECKING:  # predict needs no tables, which take a second to import
    from glasshead.images.table import ImageTable

Kind = Literal["clip", "siglip", "vit", "timm", "torchvision"]

logger = logging.getLogger(__name__)

AUTO = "auto"
SMALL = 48  # pixels; nano-clip reads 32, and imagenet-lite0 224
MEASURED = 100
MODEL_TYPES: dict[str, Kind] = {
    "clip": "clip",
    "clip_vision_model": "clip",
    "siglip": "siglip",
    "siglip_vision_model": "siglip",
    "deit": "vit",
    "dinov2": "vit",
    "dinov2_with_registers": "vit",
    "vit": "vit",
}


class BackboneParams(BaseModel, extra="forbid", frozen=True):
    """Where the frozen network comes from.

    Attributes:
        name: `auto`, `nano-clip`, a key of `PACKAGES`, `timm:` or `torchvision:` and an architecture, a folder, or a
            hub id.
        revision: branch, tag or commit, used only with a hub id and with timm's weights from the hub.
        weights: a file with the state dict, for the names of timm and torchvision alone.
    """

    name: str = "nano-clip"
    revision: str | None = None
    weights: Path | None = None

    @model_validator(mode="after")
    def _weights_are_of_a_library(self) -> Self:
        if self.weights is not None and split_name(self.name) is None:
            raise ValueError(
                f"backbone.weights is only for names such as timm:convnext_tiny or torchvision:resnet50, not for "
                f"{self.name!r}. Leave it out, or name the architecture."
            )
        return self

    @field_validator("weights")
    @classmethod
    def _absolute(cls, weights: Path | None) -> Path | None:
        return None if weights is None else weights.expanduser().absolute()

    @field_serializer("weights")
    def _as_text(self, weights: Path | None) -> str | None:
        return None if weights is None else str(weights)


def choose_backbone(backbone: BackboneParams, images: "ImageTable") -> BackboneParams:
    """Return `backbone`; for the name `auto`, nano-clip if images are at most `SMALL` pixels wide and high, or
    imagenet-lite0 if they are larger, by the median of the longer sides of up to `MEASURED` images.
    """
    if backbone.name != AUTO:
        return backbone
    rows = np.unique(np.linspace(0, len(images) - 1, MEASURED).astype(int)).tolist()
    side = np.median([max(Image.open(io.BytesIO(images.encoded(row))).size) for row in rows])
    chosen = BackboneParams(name="nano-clip" if side <= SMALL else "imagenet-lite0")
    logger.info(
        "backbone.name=auto is %s, as the longer side of images has %d pixels in the median; up to %d it is nano-clip",
        *(chosen.name, side, SMALL),
    )
    return chosen


def resolve_backbone(backbone: BackboneParams) -> Path:
    """Return the folder that holds `backbone`'s configuration and safetensors weights.

    Raises:
        BackboneError: no such folder, no safetensors weights in it, a hub id that cannot be fetched, or weights that do
            not fit the named architecture.
    """
    named = split_name(backbone.name)
    local = _local_folder(backbone.name)
    if named and (backbone.weights or named[0] == "torchvision"):
        folder = library_folder(*named, backbone.weights)
    elif named:
        folder = _fetch(backbone.model_copy(update={"name": timm_hub_id(named[1])}))
    elif local is not None:
        folder = local
    elif not _is_hub_id(backbone.name):
        raise BackboneError(
            f"There is no backbone folder {backbone.name!r}. Set `backbone.name` to nano-clip, to "
            f"{', '.join(PACKAGES)}, to timm: or torchvision: and an architecture, to a folder written by "
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
                "`model.save_pretrained(folder)` and `processor.save_pretrained(folder)`, or with timm's "
                "`save_for_hf(model, folder, safe_serialization=True)`; pickled weights are refused."
            )
    return folder


def check_backbone(backbone: BackboneParams) -> None:
    """Raise BackboneError, as `resolve_backbone`, if it can be seen without fetching weights."""
    named = split_name(backbone.name)
    if named and backbone.weights is None:
        check_known(*named)
    elif backbone.name != AUTO and (is_local(backbone.name) or not _is_hub_id(backbone.name)):
        resolve_backbone(backbone)


def _is_hub_id(name: str) -> bool:
    return not name.startswith((".", "~", "/")) and name.count("/") == 1


def _local_folder(name: str) -> Path | None:
    """Return the folder of a shipped, a packaged or a local backbone, None where `name` is none of them."""
    if name in PACKAGES:
        return packaged_folder(name)
    shipped = Path(str(resources.files("glasshead"))) / "assets" / name
    if "/" not in name and shipped.is_dir():
        return shipped
    named = Path(name).expanduser()
    return named if named.is_dir() else None


def as_used(backbone: BackboneParams) -> BackboneParams:
    """Return `backbone`, without its revision if it does not come from the hub: the provenance names what was used."""
    named = split_name(backbone.name)
    of_library = named is not None and (named[0] == "torchvision" or backbone.weights is not None)
    unused = of_library or _local_folder(backbone.name) is not None
    return backbone.model_copy(update={"revision": None}) if unused else backbone


def _fetch(backbone: BackboneParams) -> Path:
    from huggingface_hub import snapshot_download

    try:
        patterns = ["*.json", "*.safetensors", "*.txt", "*.model"]
        return Path(
            snapshot_download(backbone.name, revision=backbone.revision, allow_patterns=patterns)
        )
    except Exception as error:  # the hub client raises a dozen unrelated types when it is offline
        raise BackboneError(
            f"The hub model {backbone.name!r} (revision {backbone.revision or 'main'}) is not in the local cache and "
            f"could not be fetched: {type(error).__name__}. Connect once to fill the cache (HF_HOME sets its "
            "folder), or set `backbone.name` to a folder that holds the model. Offline, HF_HUB_OFFLINE=1 makes this "
            "fail at once."
        ) from error


def is_local(name: str) -> bool:
    """Return whether `name` is a backbone that is shipped, in a package, or in a folder."""
    if name in PACKAGES:
        return True
    folder = _local_folder(name)
    return folder is not None and (folder / "config.json").is_file()


def weights_hash(folder: Path) -> str:
    """Return the SHA-256 of the safetensors files and of the configuration, as hex."""
    digest = hashlib.sha256()
    for path in (folder / "config.json", *sorted(folder.glob("*.safetensors"))):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def kind_of(folder: Path) -> Kind:
    """Return the kind of backbone that the configuration in `folder` names; BackboneError for others."""
    path = folder / "config.json"
    try:
        config: Any = json.loads(path.read_text())
    except ValueError as error:
        raise BackboneError(
            f"The backbone in {folder} cannot be loaded: its config.json is not JSON ({error}). Restore it."
        ) from error
    config = config if isinstance(config, dict) else {}
    model_type = config.get("model_type")
    if str(model_type) in MODEL_TYPES:
        return MODEL_TYPES[model_type]
    if model_type is None and "architecture" in config:
        return "timm"
    if "torchvision" in config:
        return "torchvision"
    raise BackboneError(
        f"The backbone in {folder} cannot be loaded: by its config.json it is neither a CLIP, SigLIP, ViT, DeiT or "
        f"DINOv2 model (`model_type` is {model_type!r}) nor a network of timm (there is no `architecture`). Set "
        "`backbone.name` to a folder or hub id of one of these."
    )


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hide progress bars, and the report that the text tower's weights are unused."""
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
