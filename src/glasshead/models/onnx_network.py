"""Classifiers in ONNX files, computed by ONNX Runtime on the CPU, without gradients."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from glasshead.errors import ModelError
from glasshead.models.outside import ModelParams, Outside, regular_file

FLOATS = {"tensor(float16)": np.float16, "tensor(double)": np.float64}  # besides float32


class OnnxNetwork(nn.Module):
    """An ONNX file, kept as its bytes and computed by ONNX Runtime."""

    file: Tensor

    def __init__(self, file: Tensor) -> None:
        super().__init__()
        self.register_buffer("file", file)
        self._opened: list[Any] = []  # the session

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the session, which cannot be copied."""
        return self.__dict__ | {"_opened": []}

    @property
    def session(self) -> Any:
        """The session of ONNX Runtime."""
        if not self._opened:
            self._opened.append(_session(self.file.cpu().numpy().tobytes()))
        return self._opened[0]

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b m"]:
        """Return the outputs of the graph, computed on the CPU."""
        wanted = self.session.get_inputs()[0]
        values = pixels.detach().cpu().numpy()
        if wanted.type == "tensor(uint8)":
            values = values.round().astype(np.uint8)
        elif wanted.type in FLOATS:
            values = values.astype(FLOATS[wanted.type])
        batches = (
            [values] if not isinstance(wanted.shape[0], int) else np.split(values, len(values))
        )
        name = _scores(self.session)
        try:
            outputs = [self.session.run([name], {wanted.name: batch})[0] for batch in batches]
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise ModelError(
                f"The ONNX file cannot compute images of shape {tuple(values.shape)}: {error}"
            ) from error
        return torch.from_numpy(np.concatenate(outputs)).to(pixels.device, torch.float32)


def _session(data: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _scores(session: Any) -> str:
    """Return the name of the output with a row of scores for each image."""
    return next(output.name for output in session.get_outputs() if len(output.shape) == 2)


def read_onnx(model: ModelParams, path: str) -> Outside:
    """Return the classifier in the ONNX file at `path`; ModelError if it is no classifier of images."""
    data = _onnx_bytes(regular_file(path))
    try:
        session = _session(data)
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise ModelError(f"external.model.path: {path} cannot be read as ONNX: {error}") from error
    inputs = session.get_inputs()
    if len(inputs) != 1 or not _takes_images(inputs[0].shape):
        shapes = ", ".join(f"{value.name} {value.shape}" for value in inputs)
        raise ModelError(
            f"external.model.path: {path} should have one input of shape (images, 3, height, width); it has {shapes}. "
            "Export it with the images as its only input."
        )
    if not any(len(output.shape) == 2 for output in session.get_outputs()):
        shapes = ", ".join(f"{value.name} {value.shape}" for value in session.get_outputs())
        raise ModelError(
            f"external.model.path: {path} should have an output of shape (images, classes); it has {shapes}."
        )
    metadata = session.get_modelmeta().custom_metadata_map
    read: dict[str, Any] = {}
    side = inputs[0].shape[-1]
    if isinstance(side, int):
        read["input_size"] = side
    if "classes" in metadata:
        read["classes"] = json.loads(metadata["classes"])
    if inputs[0].type == "tensor(uint8)":  # the graph holds the normalisation
        read |= {"range": 255, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    if "glasshead" in metadata:
        read["outputs"] = "probabilities"
    file = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    built = {"kind": "onnx", "bytes": len(data)}
    return Outside(OnnxNetwork(file), built, read, "forward", hashlib.sha256(data).hexdigest())


def _takes_images(shape: list[Any]) -> bool:
    """Return whether an input of this shape, whose free sizes are names or None, can be (images, 3, height, width)."""
    return len(shape) == 4 and (shape[1] == 3 or not isinstance(shape[1], int))


def _onnx_bytes(path: Path) -> bytes:
    """Return the model in one piece; weights in files of their own are read from the model's folder alone."""
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    data = path.read_bytes()
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's error is no public name
        raise ModelError(f"external.model.path: {path} cannot be read as ONNX: {error}") from error
    folder, outside = path.parent.resolve(), False
    for tensor in model.graph.initializer:
        if uses_external_data(tensor):
            location = ExternalDataInfo(tensor).location
            file = (folder / location).resolve()
            if not file.is_relative_to(folder) or not file.is_file():
                raise ModelError(
                    f"external.model.path: {path} reads weights from {location!r}, which is no file in its folder. Put "
                    "it there, or save the model in one file."
                )
            outside = True
    if not outside:
        return data
    whole = onnx.load_model(path)
    serialised: bytes = whole.SerializeToString()
    return serialised
