"""The graph of `evaluate`, and the gate that a composition adds behind everything it saves."""

from kedro.pipeline import Pipeline

from glasshead.calibration.temperature import Output
from glasshead.pipelines.evaluate.audit_nodes import find_faults
from glasshead.pipelines.evaluate.nodes import (
    check_gate,
    compute_metrics,
    find_confused_pairs,
    measure_class_recall,
    measure_reliability,
    plot_confused_pairs,
    plot_confusion_matrix,
    plot_curves,
    plot_reliability,
    select_test,
)
from glasshead.reporting.evaluation_figures import plot_class_recall
from glasshead.reporting.risk_figures import plot_localisation
from glasshead.templates import steps


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
        + steps(
            (measure_class_recall, "test_predictions", "class_recall"),
            (find_confused_pairs, "test_predictions params:evaluate", "confused_pairs"),
            (measure_reliability, "test_predictions params:evaluate", "reliability"),
            (plot_confusion_matrix, "test_predictions", "confusion_matrix_figure"),
            (plot_class_recall, "class_recall", "class_recall_figure"),
            (plot_confused_pairs, "confused_pairs images params:evaluate", "confused_pairs_figure"),
        )
    )


def _of_labels() -> Pipeline:
    return (
        _measured(localisation="localisation")
        + _findings({"further": "shortcut_findings"})
        + steps(
            (plot_curves, "test_predictions", "curves_figure"),
            (plot_localisation, "metrics", "localisation_figure"),
        )
    )


def gate_pipeline(after: list[str]) -> Pipeline:
    """Return the gate alone, which waits for the datasets `after`."""
    inputs = ["metrics", "params:evaluate", *after]
    return steps(
        (check_gate, inputs, None),
    )


def _measured(**measured: str) -> Pipeline:
    """Return what every output has: its test table, its metrics from that and `measured`, its reliability."""
    return steps(
        (select_test, "images samples logits predictions", "test_predictions"),
        (
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
        ),
        (plot_reliability, "test_predictions params:evaluate", "reliability_figure"),
    )


def _findings(tables: dict[str, str]) -> Pipeline:
    inputs = {"test": "test_predictions", "samples": "samples", "metrics": "metrics", **tables}
    return steps(
        (find_faults, inputs, "findings"),
    )
