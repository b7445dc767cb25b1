"""The graph of `evaluate`, and the gate that a composition adds behind everything it saves."""

from kedro.pipeline import Node, Pipeline

from glasshead.calibration.temperature import Output
from glasshead.pipelines.evaluate.audit_nodes import find_faults
from glasshead.pipelines.evaluate.nodes import (
    check_gate,
    compute_metrics,
    find_confused_pairs,
    measure_class_recall,
    measure_reliability,
    plot_class_recall,
    plot_confused_pairs,
    plot_confusion_matrix,
    plot_curves,
    plot_reliability,
    select_test,
)
from glasshead.reporting.risk_figures import plot_localisation


def create_pipeline(output: Output = "softmax") -> Pipeline:
    """What calibrate leaves, samples, images → metrics, findings, tables, figures.

    And baselines and abstention; of a sigmoid output, localisation and shortcut_findings.
    """
    return _of_labels() if output == "sigmoid" else _of_classes()


def _of_classes() -> Pipeline:
    tables = {"confused_pairs": "confused_pairs", "reliability": "reliability"}
    return (
        _measured(baselines="baselines", abstention="abstention")
        + _findings(tables)
        + Pipeline(
            [
                Node(
                    measure_class_recall,
                    "test_predictions",
                    "class_recall",
                    name="measure_class_recall",
                ),
                Node(
                    find_confused_pairs,
                    ["test_predictions", "params:evaluate"],
                    "confused_pairs",
                    name="find_confused_pairs",
                ),
                Node(
                    measure_reliability,
                    ["test_predictions", "params:evaluate"],
                    "reliability",
                    name="measure_reliability",
                ),
                Node(
                    plot_confusion_matrix,
                    "test_predictions",
                    "confusion_matrix_figure",
                    name="plot_confusion_matrix",
                ),
                Node(
                    plot_class_recall,
                    "class_recall",
                    "class_recall_figure",
                    name="plot_class_recall",
                ),
                Node(
                    plot_confused_pairs,
                    ["confused_pairs", "images", "params:evaluate"],
                    "confused_pairs_figure",
                    name="plot_confused_pairs",
                ),
            ]
        )
    )


def _of_labels() -> Pipeline:
    return (
        _measured(localisation="localisation")
        + _findings({"further": "shortcut_findings"})
        + Pipeline(
            [
                Node(plot_curves, "test_predictions", "curves_figure", name="plot_curves"),
                Node(
                    plot_localisation,
                    "metrics",
                    "localisation_figure",
                    name="plot_localisation",
                ),
            ]
        )
    )


def gate_pipeline(after: list[str]) -> Pipeline:
    """Return the gate alone, which waits for the datasets `after`."""
    inputs = ["metrics", "params:evaluate", *after]
    return Pipeline([Node(check_gate, inputs, None, name="check_gate")])


def _measured(**measured: str) -> Pipeline:
    """Return what every output has: its test table, its metrics from that and `measured`, its reliability."""
    return Pipeline(
        [
            Node(
                select_test,
                ["images", "samples", "logits", "predictions"],
                "test_predictions",
                name="select_test",
            ),
            Node(
                compute_metrics,
                {
                    "test": "test_predictions",
                    "samples": "samples",
                    "temperatures": "temperatures",
                    "parameters": "params:evaluate",
                    "seed": "params:seed",
                    **measured,
                },
                "metrics",
                name="compute_metrics",
            ),
            Node(
                plot_reliability,
                ["test_predictions", "params:evaluate"],
                "reliability_figure",
                name="plot_reliability",
            ),
        ]
    )


def _findings(tables: dict[str, str]) -> Pipeline:
    inputs = {"test": "test_predictions", "samples": "samples", "metrics": "metrics", **tables}
    return Pipeline([Node(find_faults, inputs, "findings", name="find_faults")])
