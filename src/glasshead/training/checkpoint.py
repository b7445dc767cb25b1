"""Checkpoints of a training: safetensors and JSON, complete or absent, resumed only by the same training."""

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from glasshead.errors import ArtifactError
from glasshead.files import replace_folder
from glasshead.training.history import Progress

logger = logging.getLogger(__name__)

FORMAT = 1  # increase it when older checkpoints can no longer be resumed
TENSORS, DESCRIPTION = "state.safetensors", "state.json"

Tensors = Mapping[str, Tensor]


class CheckpointFolder:
    """The checkpoints of one training, each in its own folder: `last`, the full state, and `best`.

    `best` holds the weights of the best epoch, for other readers. `last` holds these weights too, so that a kill
    between the two writes does no harm. New checkpoints replace those of earlier trainings.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, name: str, identity: str, progress: Progress, tensors: Tensors) -> None:
        """Replace checkpoint `name`; on an ArtifactError, such as a full disk, the old one stays."""
        weights = save({key: _plain(value) for key, value in tensors.items()})
        text = progress.to_json()
        described = {
            "format": FORMAT,
            "identity": identity,
            "tensors_sha256": hashlib.sha256(weights).hexdigest(),
            "progress_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "progress": text,
        }
        with replace_folder(self.path / name) as folder:
            (folder / TENSORS).write_bytes(weights)
            (folder / DESCRIPTION).write_text(json.dumps(described) + "\n")

    def load(self, name: str, identity: str) -> tuple[Progress, dict[str, Tensor]] | None:
        """Return checkpoint `name`; None if it is missing, or, with a log line, if damaged or of another training."""
        folder = self.path / name
        try:
            described = json.loads((folder / DESCRIPTION).read_text())
            if described["format"] != FORMAT or described["identity"] != identity:
                logger.info("%s belongs to another training, so this training starts anew", folder)
                return None
            weights = (folder / TENSORS).read_bytes()
            _check(weights, described["tensors_sha256"], folder / TENSORS)
            progress = described["progress"]
            _check(progress.encode(), described["progress_sha256"], folder / DESCRIPTION)
            return Progress.from_json(progress), load(weights)
        except FileNotFoundError as error:
            if folder.exists():
                logger.warning("%s lacks %s: training starts anew", folder, error.filename)
            return None
        except ArtifactError as error:
            logger.warning("%s Training starts anew", error)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, SafetensorError) as e:
            logger.warning("%s is damaged (%r): training starts anew", folder / DESCRIPTION, e)
        return None


def _check(content: bytes, digest: str, path: Path) -> None:
    if hashlib.sha256(content).hexdigest() != digest:
        raise ArtifactError(f"{path} is damaged.")


def _plain(value: Tensor) -> Tensor:
    """Return a contiguous copy on the CPU, as safetensors supports neither strides nor shared memory."""
    return value.detach().to("cpu").clone(memory_format=torch.contiguous_format)


def join_parts(groups: Mapping[str, Tensors]) -> dict[str, Tensor]:
    """Return the tensors of all groups as `<group>/<name>`."""
    return {
        f"{group}/{name}": value for group, own in groups.items() for name, value in own.items()
    }


def split_parts(tensors: Tensors) -> dict[str, dict[str, Tensor]]:
    """Return the groups that `join_parts` joined; an absent group is empty."""
    groups: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, value in tensors.items():
        group, name = key.split("/", 1)
        groups[group][name] = value
    return groups


def optimiser_tensors(optimisers: list[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Return the state of each optimiser as `<optimiser>/<parameter>/<name>`, without learning rates and groups."""
    return {
        f"{number}/{index}/{key}": value
        for number, optimiser in enumerate(optimisers)
        for index, state in optimiser.state_dict()["state"].items()
        for key, value in state.items()
        if isinstance(value, Tensor)
    }


def load_optimisers(optimisers: list[torch.optim.Optimizer], tensors: Tensors) -> None:
    """Give the optimisers the state that `optimiser_tensors` returned, in the memory layout of their parameters."""
    for number, optimiser in enumerate(optimisers):
        parameters = [value for group in optimiser.param_groups for value in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            owner, index, key = name.split("/")
            if int(owner) == number:
                state.setdefault(int(index), {})[key] = _like(parameters[int(index)], value)
        described = optimiser.state_dict()
        optimiser.load_state_dict({"state": state, "param_groups": described["param_groups"]})


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
