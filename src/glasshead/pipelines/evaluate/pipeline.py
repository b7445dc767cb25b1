"""The graph of `evaluate`, and the gate that a composition adds behind everything it saves."""

from kedro.pipeline import Node, Pipeline

from glasshead.pipelines.evaluate.audit_nodes import find_faults
from glasshead.pipelines.evaluate.nodes import (
    check_gate,
    compute_metrics,
    draw_class_recall,
    draw_confused_pairs,
    draw_confusion_matrix,
    draw_reliability,
    find_confused_pairs,
    measure_class_recall,
    measure_reliability,
    select_test,
)


def create_pipeline() -> Pipeline:
    """logits, controls, temperatures, abstention, predictions, samples, images → metrics, findings, tables, figures."""
    return Pipeline(
        [
            Node(
                select_test,
                ["images", "samples", "predictions"],
                "test_predictions",
                name="select_test",
            ),
            Node(
                compute_metrics,
                [
                    "logits",
                    "test_predictions",
                    "controls",
                    "temperatures",
                    "abstention",
                    "params:evaluate",
                    "params:seed",
                ],
                "metrics",
                name="compute_metrics",
            ),
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
                draw_confusion_matrix,
                "test_predictions",
                "confusion_matrix_figure",
                name="draw_confusion_matrix",
            ),
            Node(
                draw_class_recall, "class_recall", "class_recall_figure", name="draw_class_recall"
            ),
            Node(
                draw_reliability,
                ["logits", "temperatures", "params:evaluate"],
                "reliability_figure",
                name="draw_reliability",
            ),
            Node(
                measure_reliability,
                ["logits", "temperatures", "params:evaluate"],
                "reliability",
                name="measure_reliability",
            ),
            Node(
                find_faults,
                ["test_predictions", "samples", "metrics", "reliability"],
                "findings",
                name="find_faults",
            ),
            Node(
                draw_confused_pairs,
                ["confused_pairs", "images", "params:evaluate"],
                "confused_pairs_figure",
                name="draw_confused_pairs",
            ),
        ]
    )


def gate_pipeline(after: list[str]) -> Pipeline:
    """Return the gate alone, which waits for the datasets `after`."""
    inputs = ["metrics", "params:evaluate", *after]
    return Pipeline([Node(check_gate, inputs, None, name="check_gate")])
