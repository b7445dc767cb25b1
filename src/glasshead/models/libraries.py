"""Backbones by a library's own name of their architecture: `timm:NAME` and `torchvision:NAME`.

Their weights come from a file that the user has, or from where the library itself fetches them: the Hugging Face hub
for timm, torch hub's cache for torchvision. A network of torchvision, or one whose weights come from a file, is
converted once to a folder in the user's cache.
"""

import difflib
import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glasshead.errors import BackboneError
from glasshead.models.packaged import cached_folder, write_network, write_timm

if TYPE_CHECKING:
    from torch import Tensor, nn

LIBRARIES = ("timm", "torchvision")


def split_name(name: str) -> tuple[str, str] | None:
    """Return library and architecture of a name such as `timm:convnext_tiny`, None for other names."""
    library, colon, architecture = name.partition(":")
    return (library, architecture) if colon and library in LIBRARIES else None


def timm_hub_id(architecture: str) -> str:
    """Return the id on the Hugging Face hub of timm's weights for `architecture`; BackboneError if it has none."""
    import timm

    check_known("timm", architecture)
    described = timm.get_pretrained_cfg(architecture)
    if described is None or not described.hf_hub_id:
        raise BackboneError(
            f"timm has no weights for {architecture}. Set backbone.weights to a file with its state dict."
        )
    return str(described.hf_hub_id)


def check_known(library: str, architecture: str) -> None:
    """Raise BackboneError, with near names, if `library` has no such architecture that can be a backbone."""
    if library == "timm":
        import timm

        known = [*timm.list_models(), *timm.list_pretrained()]
    else:
        from glasshead.models.torchvision_networks import known_networks

        known = known_networks()
    if architecture not in known:
        near = difflib.get_close_matches(architecture, known, n=3)
        meant = f" Did you mean {' or '.join(near)}?" if near else ""
        raise BackboneError(
            f"backbone.name: {library} has no architecture {architecture!r} that can be used here.{meant}"
        )


def library_folder(library: str, architecture: str, weights: Path | None) -> Path:
    """Return the folder of a network of `library` with the state dict in the file `weights`.

    Without `weights`, torchvision's default ones are read from torch hub's cache, or downloaded to it.

    Raises:
        ArtifactError: the cache cannot be written.
        BackboneError: the library has no such architecture, or the weights are missing or do not fit it.
    """
    check_known(library, architecture)
    if weights is None:
        from glasshead.models.imagenet import default_weights, name_of_default_weights

        identity = name_of_default_weights(architecture).encode()
        read: Callable[[], Mapping[str, Tensor]] = partial(default_weights, architecture)
    else:
        try:
            identity = weights.read_bytes()
        except OSError as error:
            raise BackboneError(f"backbone.weights: {weights} cannot be read: {error}.") from error
        read = partial(_read_state, weights)
    build = _build_timm if library == "timm" else _build_torchvision

    def write(folder: Path) -> None:
        build(architecture, read(), folder)

    digest = hashlib.sha256(identity).hexdigest()
    return cached_folder(f"{library}-{architecture}-{digest[:16]}", write)


def _read_state(weights: Path) -> Mapping[str, "Tensor"]:
    """Return the state dict in a safetensors file or a pickle of tensors alone."""
    from timm.models import load_state_dict
    from torch import Tensor

    try:
        state = load_state_dict(str(weights), weights_only=True)
        if not state or not all(isinstance(value, Tensor) for value in state.values()):
            raise ValueError("it holds something else than tensors")
        return state
    except Exception as error:  # damaged and dangerous pickles raise almost anything
        raise BackboneError(
            f"backbone.weights: {weights} cannot be read as a state dict: {error}. Write it with "
            "`safetensors.torch.save_file(model.state_dict(), file)` or `torch.save(model.state_dict(), file)`."
        ) from error


def _build_timm(architecture: str, state: Mapping[str, "Tensor"], folder: Path) -> None:
    import timm

    described = timm.get_pretrained_cfg(architecture)
    classifier = f"{described.classifier if described else None}.weight"
    classes = len(state[classifier]) if classifier in state else 0
    model: Any = timm.create_model(architecture, num_classes=classes)
    _take(model, state, f"timm's {architecture}")
    write_timm(model, architecture, folder)


def _build_torchvision(architecture: str, state: Mapping[str, "Tensor"], folder: Path) -> None:
    from torchvision.models import get_model, get_model_weights

    from glasshead.models.torchvision_networks import last_linear

    preset = get_model_weights(architecture).DEFAULT.transforms()
    (side,), (resized,) = preset.crop_size, preset.resize_size
    size = {"image_size": side} if architecture.startswith("vit_") else {}
    head = last_linear(get_model(architecture, **size))
    classes = len(state.get(f"{head}.weight", range(1000)))
    model = get_model(architecture, num_classes=classes, **size)
    _take(model, state, f"torchvision's {architecture}")
    processor = {
        "size": {"shortest_edge": resized},
        "crop_size": {"height": side, "width": side},
        "resample": {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}[
            preset.interpolation.value
        ],
        "image_mean": list(preset.mean),
        "image_std": list(preset.std),
    }
    config = {"torchvision": architecture, "num_classes": classes, "processor": processor}
    write_network(model, config, folder)


def _take(model: "nn.Module", state: Mapping[str, "Tensor"], whose: str) -> None:
    try:
        model.load_state_dict(dict(state))
    except RuntimeError as error:
        raise BackboneError(f"backbone.weights do not fit {whose}: {error}") from error
