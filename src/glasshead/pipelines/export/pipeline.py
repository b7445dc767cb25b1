"""The graph of `export`: what was measured is saved before a gate says whether the exports are the classifier."""

from kedro.pipeline import Node, Pipeline

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
    return Pipeline(
        [
            Node(export_onnx, ["classifier", "params:export"], "onnx", name="export_onnx"),
            Node(quantise_onnx, "onnx", "onnx_int8", name="quantise_onnx"),
            Node(
                export_program,
                ["classifier", "images", "samples", "params:export", "params:seed"],
                ["program", "program_parity"],
                name="export_program",
            ),
            Node(
                measure_exports,
                [
                    "classifier",
                    "onnx",
                    "onnx_int8",
                    "program_parity",
                    "images",
                    "samples",
                    "predictions",
                    "params:export",
                    "params:seed",
                ],
                "export_metrics",
                name="measure_exports",
            ),
            Node(
                measure_latency,
                ["classifier", "onnx", "onnx_int8", "params:export"],
                "latency",
                name="measure_latency",
            ),
            Node(
                check_parity,
                ["export_metrics", "params:export", "latency"],
                None,
                name="check_parity",
            ),
        ]
    )
