"""Classifiers from outside by the kind of their file: how each is read, and built again from a saved Classifier."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from glasshead.models.code_networks import (
    CalledNetwork,
    ProgramNetwork,
    call_factory,
    read_program,
    read_python,
)
from glasshead.models.library_classifiers import build_library, read_network
from glasshead.models.onnx_network import OnnxNetwork, read_onnx
from glasshead.models.outside import Kind, ModelParams, Outside, check_model, regular_file
from glasshead.models.torchvision_networks import feature_maps


def load_outside(model: ModelParams) -> Outside:
    """Return the network that `model` names.

    Raises ModelError: it is missing or damaged, reads or returns something else than a classifier of images, or wants
    to run code without being trusted.
    """
    path = check_model(model)
    readers: dict[Kind, Callable[[ModelParams, str], Outside]] = {
        "network": read_network,
        "onnx": read_onnx,
        "program": read_program,
        "table": _read_table,
        "python": read_python,
    }
    return readers[model.kind](model, path)


def build(built: Mapping[str, Any]) -> nn.Module | None:
    """Return the network that `built` describes, whose weights are loaded afterwards.

    Raises ModelError if it is code whose file has changed, or is not trusted on this machine.
    """
    kind = built["kind"]
    if kind == "table":
        return None
    if kind == "onnx":
        return OnnxNetwork(torch.zeros(built["bytes"], dtype=torch.uint8))
    if kind == "program":
        return ProgramNetwork(torch.zeros(built["bytes"], dtype=torch.uint8))
    if kind == "python":
        return call_factory(built["path"], built["sha256"])[0]
    return build_library(built)


def _read_table(model: ModelParams, path: str) -> Outside:
    data = regular_file(path).read_bytes()
    read = {
        "input_size": 224,
        "mean": (0.0,) * 3,
        "std": (1.0,) * 3,
    }  # for pictures in the report alone
    return Outside(None, {"kind": "table"}, read, "table", hashlib.sha256(data).hexdigest())


def map_layers(network: nn.Module | None, side: int) -> list[str]:
    """Return the names of the modules whose outputs are convolutional maps, the last one last; none for other networks.

    timm names the stages of its networks; of others only the last map is looked for.
    """
    if network is None or isinstance(network, OnnxNetwork | ProgramNetwork | CalledNetwork):
        return []
    maps = feature_maps(network, side)
    stages = getattr(network, "feature_info", None)
    named = [stage["module"] for stage in stages] if isinstance(stages, list) else []
    return [name for name in named if name in maps] or maps[-1:]
