"""ImageNet weights of torchvision's networks, through its weight enums and torch hub's cache."""

import contextlib
import hashlib
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlparse

import torch
from torch import Tensor
from torchvision.models import get_model_weights

from glasshead.errors import BackboneError
from glasshead.models.stages import Architecture

TIMEOUT = 20  # seconds without an answer after which a download is given up


class PretrainedWeights(NamedTuple):
    """Weights of a pretrained network, the mean and std of its input, their origin, and its input's side in pixels.

    `state` is empty if the network is to be trained from scratch.
    """

    state: Mapping[str, Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    size: int = 224


def load_imagenet(architecture: Architecture) -> PretrainedWeights:
    """Return torchvision's default ImageNet weights, as `default_weights` does."""
    source = f"imagenet: {name_of_default_weights(architecture)}"
    return with_imagenet_colours(architecture, default_weights(architecture), source)


def name_of_default_weights(architecture: str) -> str:
    """Return torchvision's name of its default weights."""
    return str(get_model_weights(architecture).DEFAULT)


def default_weights(architecture: str) -> Mapping[str, Tensor]:
    """Return torchvision's default weights from torch hub's cache, downloading them if needed.

    The file is checked against the hash in its name, and only tensors are read from it.

    Raises:
        BackboneError: the weights are not in the cache and cannot be fetched, or are damaged.
    """
    weights = get_model_weights(architecture).DEFAULT
    cached = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(weights.url).path).name)
    _check_hash(cached)
    try:
        with _bounded_wait(), contextlib.redirect_stdout(sys.stderr):
            state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except Exception as error:  # the download and the reading of the file have no common base
        raise BackboneError(
            f"The ImageNet weights of {architecture} are not available: {error}. Connect once to download "
            f"{weights.url} to {cached} (TORCH_HOME sets this cache's folder), or put the file there. Or set "
            "`pretrained` to the folder of a Classifier of kind transfer, or to none."
        ) from error
    return state


def with_imagenet_colours(
    architecture: Architecture, state: Mapping[str, Tensor], source: str
) -> PretrainedWeights:
    """Return weights with the mean and std of torchvision's preset for `architecture`."""
    preset = get_model_weights(architecture).DEFAULT.transforms()
    return PretrainedWeights(state, tuple(preset.mean), tuple(preset.std), source)


def _check_hash(cached: Path) -> None:
    """Raise BackboneError if a cached file does not have the hash in its name; torch hub checks only downloads."""
    if not cached.is_file():
        return
    expected = cached.stem.rpartition("-")[2]
    with cached.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if not actual.startswith(expected):
        raise BackboneError(
            f"{cached} is damaged: its SHA-256 begins with {actual[: len(expected)]}, not with {expected} as its name "
            "says. Delete it, and connect once to download it again."
        )


@contextlib.contextmanager
def _bounded_wait() -> Iterator[None]:
    """Set a network timeout, as the hub's client has none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
