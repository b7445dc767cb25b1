"""Classifiers that are code: programs of torch.export, and what a function of the user's returns.

Reading one can run any code, so its file must be trusted: see `require_trust`.
"""

import hashlib
import importlib.util
import io
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.export import ExportedProgram

from glasshead.errors import ModelError
from glasshead.models.classifier import Access
from glasshead.models.outside import ModelParams, Outside, regular_file, require_trust, trust


class ProgramNetwork(nn.Module):
    """A program of torch.export, kept as the bytes of its archive."""

    file: Tensor

    def __init__(self, file: Tensor) -> None:
        super().__init__()
        self.register_buffer("file", file)
        self._opened: list[
            Any
        ] = []  # the program's module; in a list, so that its weights are not saved twice

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the module, which is made again from the bytes."""
        return self.__dict__ | {"_opened": []}

    @property
    def program(self) -> ExportedProgram:
        """The program. Raises ModelError if its file is not trusted on this machine, or cannot be read."""
        if not self._opened:
            data = self.file.cpu().numpy().tobytes()
            require_trust(hashlib.sha256(data).hexdigest(), "This program")
            try:
                program = torch.export.load(io.BytesIO(data))
            except Exception as error:  # torch.export.load raises almost anything
                raise ModelError(f"This file is no program of torch.export: {error}") from error
            self._opened += [program, program.module()]
        return self._opened[0]

    @property
    def example(self) -> Tensor:
        """The images that the program was exported with. Raises ModelError if they are not its only input."""
        inputs, named = self.program.example_inputs
        if named or len(inputs) != 1 or inputs[0].ndim != 4 or inputs[0].shape[1] != 3:
            shapes = [tuple(value.shape) for value in (*inputs, *named.values())]
            raise ModelError(
                f"This program should have one input of shape (images, 3, height, width); it has {shapes}."
            )
        example: Tensor = inputs[0]
        return example

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b m"]:
        """Return the outputs of the program."""
        read = self.example.dtype
        values = pixels.to(read) if read.is_floating_point else pixels.round().to(read)
        try:
            outputs: Tensor = self._opened[1].to(pixels.device)(values)
        except Exception as error:  # programs check their inputs by assertions
            raise ModelError(
                f"The program cannot compute images of shape {tuple(pixels.shape)}: {error}"
            ) from error
        return outputs.float()


def read_program(model: ModelParams, path: str) -> Outside:
    """Return the program in the `.pt2` file at `path`; ModelError if it is no classifier of images, or not trusted."""
    data = regular_file(path).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if model.trusted:
        trust(digest)
    require_trust(digest, f"external.model.path: {path}")
    network = ProgramNetwork(torch.frombuffer(bytearray(data), dtype=torch.uint8))
    try:
        example = network.example
    except ModelError as error:
        raise ModelError(f"external.model.path: {path}: {error}") from error
    read: dict[str, Any] = {"input_size": example.shape[-1]}
    if example.dtype == torch.uint8:
        read |= {"range": 255, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    floating = example.dtype.is_floating_point
    access: Access = (
        "gradient" if floating and _has_gradients(network, read["input_size"]) else "forward"
    )
    return Outside(network, {"kind": "program", "bytes": len(data)}, read, access, digest)


def read_python(model: ModelParams, path: str) -> Outside:
    """Return what the function at `path`, FILE.py:FUNCTION, returns; ModelError if that fails, or it is not trusted."""
    file, _, function = path.rpartition(":")
    code = regular_file(file)
    digest = hashlib.sha256(code.read_bytes()).hexdigest()
    if model.trusted:
        trust(digest)
    reference = f"{code.absolute()}:{function}"
    network, read, access = call_factory(reference, digest)
    built = {"kind": "python", "path": reference, "sha256": digest}
    return Outside(network, built, read, access, digest)


def call_factory(reference: str, digest: str) -> tuple[nn.Module, dict[str, Any], Access]:
    """Return what the user's function returns as a network, what it says of the contract, and the access level."""
    path, _, function = reference.rpartition(":")
    file = regular_file(path)
    if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
        raise ModelError(
            f"{path} has changed since the classifier was read. Run `kedro run --pipelines=external` again."
        )
    require_trust(digest, f"external.model.path: {reference}")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        with _importing_from(file.parent):
            spec.loader.exec_module(module)
            made = getattr(module, function)()
    except Exception as error:  # code of the user's
        raise ModelError(f"{reference} failed: {type(error).__name__}: {error}") from error
    return as_network(made, reference)


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Let modules in `folder` be imported, as Python does for a script that lies there."""
    sys.path.insert(0, str(folder.absolute()))
    try:
        yield
    finally:
        sys.path.remove(str(folder.absolute()))


def as_network(made: Any, name: str) -> tuple[nn.Module, dict[str, Any], Access]:
    """Return `made` as a network, with what it says of the contract, and the access level that it permits.

    `made` is a torch module, or follows MAITE's protocol of a model, or is one of these with a mapping of fields of
    `ContractParams`. Raises ModelError if it is something else.
    """
    read: dict[str, Any] = {}
    if isinstance(made, tuple) and len(made) == 2 and isinstance(made[1], Mapping):
        made, read = made[0], dict(made[1])
    if isinstance(made, nn.Module):
        return made.eval(), read, "gradient"
    if callable(made) and hasattr(made, "metadata"):
        names = made.metadata.get("index2label")
        if names and "classes" not in read:
            read["classes"] = [names[number] for number in sorted(names)]
        return CalledNetwork(made), {"outputs": "probabilities"} | read, "forward"
    raise ModelError(
        f"{name} returns a {type(made).__name__}. Return a torch.nn.Module, or a model that follows MAITE's protocol, "
        "alone or with a dict of the contract: (model, {'classes': […], 'input_size': 224, …})."
    )


class CalledNetwork(nn.Module):
    """A model that follows MAITE's protocol: a list of arrays (3, h, w) in, an array of scores for each out."""

    def __init__(self, model: Callable[[list[np.ndarray]], Any]) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b m"]:
        """Return the model's scores."""
        scores = self.model(list(pixels.detach().cpu().numpy()))
        stacked = np.stack([np.asarray(score, dtype=np.float32) for score in scores])
        return torch.from_numpy(stacked).to(pixels.device)


def _has_gradients(network: nn.Module, side: int) -> bool:
    """Return whether the pixels' gradient of the outputs can be computed."""
    pixels = torch.rand(2, 3, side, side, requires_grad=True)
    try:
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(network(pixels).sum(), pixels)
    except (RuntimeError, ModelError):  # torch's own for a graph without gradients
        return False
    return bool(gradient.any())
