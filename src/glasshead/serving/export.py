"""Export of a Classifier to torch.export and ONNX, as a program from uint8 pixels to calibrated probabilities.

Files hold neither pickled code of this project nor paths of the machine that made them. torch.export.load, which reads
a `.pt2`, unpickles, so load only files that you made. Reading an ONNX file runs no code from it.
"""

import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from glasshead import __version__
from glasshead.errors import ExportError
from glasshead.models.classifier import Classifier, access_of, as_images

if TYPE_CHECKING:  # for exports alone
    from onnx import ModelProto

INPUT, OUTPUT = "pixels", "probabilities"
BATCH = 64  # images at once where speed is not measured

Run = Callable[[UInt8[np.ndarray, "b 3 h w"]], Float[np.ndarray, "b k"]]


class FromPixels(nn.Module):
    """A module from pixels, 0 to 255 at the classifier's input size, to calibrated probabilities."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, pixels: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Return the calibrated probabilities."""
        return self.classifier.probabilities(as_images(pixels))


def export_graph(classifier: Classifier) -> ExportedProgram:
    """Return the whole path from pixels to probabilities as one graph, for any number of images above 0.

    Raises ExportError if the classifier has no gradients, as what comes from a file of another runtime, or does
    something that torch.export does not support.
    """
    if (access := access_of(classifier)) != "gradient":
        raise ExportError(
            f"A classifier of access level {access} cannot be exported: only torch's networks can. Use the "
            "file that it was read from, and the temperature in classifier.json."
        )
    size = classifier.input_size
    example = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    try:
        with torch.no_grad():
            program = torch.export.export(
                FromPixels(classifier.eval()), (example,), dynamic_shapes=({0: Dim("batch")},)
            )
    except Exception as error:  # torch.export raises almost anything
        raise ExportError(f"The classifier cannot be exported by torch.export: {error}") from error
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            node.meta.pop("stack_trace", None)  # as it names files of this machine
    return program


def program_bytes(program: ExportedProgram) -> bytes:
    """Return the program as a `.pt2` archive."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def onnx_bytes(program: ExportedProgram, classifier: Classifier, opset: int) -> bytes:
    """Return the program as ONNX; input `pixels`, output `probabilities`, classes and temperature in its metadata.

    Raises ExportError where an operation has no counterpart in that opset.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        exported = torch.onnx.export(
            program, input_names=[INPUT], output_names=[OUTPUT], opset_version=opset, verbose=False
        )
    except Exception as error:  # torch.onnx too raises almost anything
        raise ExportError(f"The classifier cannot be exported as ONNX: {error}") from error
    assert exported is not None
    model = exported.model_proto
    _forget_origins(model)
    about = {
        "classes": json.dumps(list(classifier.classes)),
        "output": classifier.output,
        "temperatures": json.dumps(classifier.temperatures),
        "glasshead": __version__,
    }
    for key, value in about.items():
        model.metadata_props.add(key=key, value=value)
    return model.SerializeToString(deterministic=True)


def quantised(model: bytes) -> bytes:
    """Return an ONNX model whose matrix products run in int8, with activations scaled at run time.

    Convolutions stay in float32: ONNX Runtime has no int8 kernel for signed weights, and a slow one for unsigned ones.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with TemporaryDirectory() as folder:
        whole, folded, small = (
            Path(folder, f"{name}.onnx") for name in ("whole", "folded", "small")
        )
        whole.write_bytes(model)
        quant_pre_process(whole, folded, skip_symbolic_shape=True)
        quantize_dynamic(
            folded, small, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8
        )
        return small.read_bytes()


def run_onnx(model: bytes, threads: int = 1) -> Run:
    """Return a function that computes `model` with ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run([OUTPUT], {INPUT: pixels})[0]


def run_torch(module: Callable[[Tensor], Tensor]) -> Run:
    """Return a function that computes `module`, such as a FromPixels or an exported program's module, on the CPU."""

    @torch.inference_mode()
    def run(pixels: UInt8[np.ndarray, "b 3 h w"]) -> Float[np.ndarray, "b k"]:
        return module(torch.from_numpy(pixels)).numpy()

    return run


def in_batches(run: Run, pixels: UInt8[np.ndarray, "n 3 h w"]) -> Float[np.ndarray, "n k"]:
    """Return the outputs of `run` for all images, computed in batches."""
    outputs = [run(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)]
    return np.concatenate(outputs)


def _forget_origins(model: "ModelProto") -> None:
    """Remove the exporter's notes about the source code of each part."""
    graphs = [model.graph, *model.functions]
    model.ClearField("metadata_props")
    for element in (*graphs, *(node for graph in graphs for node in graph.node)):
        element.ClearField("metadata_props")
        element.ClearField("doc_string")
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        value.ClearField("metadata_props")
