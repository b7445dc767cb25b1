"""The graph of `export`: measurements are saved before a gate checks that exports agree with the classifier."""

from kedro.pipeline import Pipeline

from glasshead.deferred import deferred
from glasshead.templates import steps

with deferred(__name__):
    from glasshead.pipelines.export.nodes import (
        check_parity,
        export_onnx,
        export_program,
        measure_exports,
        measure_latency,
        quantise_onnx,
    )


def create_pipeline() -> Pipeline:
    """classifier, images, samples, predictions → onnx, onnx_int8, program, export_metrics, latency."""
    return steps(
        (export_onnx, "classifier params:export", "onnx"),
        (quantise_onnx, "onnx", "onnx_int8"),
        (
            export_program,
            "classifier images samples params:export params:seed",
            "program program_parity",
        ),
        (
            measure_exports,
            "classifier onnx onnx_int8 program_parity images samples predictions params:export params:seed",
            "export_metrics",
        ),
        (measure_latency, "classifier onnx onnx_int8 params:export", "latency"),
        (check_parity, "export_metrics params:export latency", None),
    )
