"""The graph of `evaluate`, and the accuracy gate, which pipelines run after all their outputs are saved."""

from kedro.pipeline import Pipeline

from glasshead.calibration.temperature import Output
from glasshead.deferred import deferred
from glasshead.templates import step, steps

with deferred(__name__):
    from glasshead.pipelines.evaluate.audit_nodes import find_faults, find_outside_faults
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


def create_pipeline(output: Output = "softmax", *, outside: bool = False) -> Pipeline:
    """Outputs of calibrate, samples, images → metrics, findings, tables, figures.

    Of a classifier that was trained outside, the images that it may have learned are looked for.

    For a softmax output, baselines and abstention are inputs too; for a sigmoid output, localisation and
    shortcut_findings.
    """
    if output == "sigmoid":
        common = _common({"localisation": "localisation"}, {"further": "shortcut_findings"})
        return common + steps(
            (plot_curves, "test_predictions", "curves_figure"),
            (plot_localisation, "metrics", "localisation_figure"),
        )
    measured = {"baselines": "baselines", "abstention": "abstention"}
    checked = {"confused_pairs": "confused_pairs", "reliability": "reliability"}
    further = []
    if outside:
        checked["further"] = "outside_findings"
        inputs = "predictions preflight params:preprocess"
        further.append(step(find_outside_faults, inputs, "outside_findings"))
    own = steps(
        (measure_class_recall, "test_predictions", "class_recall"),
        (find_confused_pairs, "test_predictions params:evaluate", "confused_pairs"),
        (measure_reliability, "test_predictions params:evaluate", "reliability"),
        (plot_confusion_matrix, "test_predictions", "confusion_matrix_figure"),
        (plot_class_recall, "class_recall", "class_recall_figure"),
        (plot_confused_pairs, "confused_pairs images params:evaluate", "confused_pairs_figure"),
    )
    return Pipeline(further) + _common(measured, checked) + own


def _common(measured: dict[str, str], checked: dict[str, str]) -> Pipeline:
    """Return the nodes for any output; `measured` are further inputs of the metrics, `checked` of the findings."""
    test = {"test": "test_predictions", "samples": "samples"}
    fitted = {
        "temperatures": "temperatures",
        "parameters": "params:evaluate",
        "seed": "params:seed",
    }
    return steps(
        (select_test, "images samples logits predictions", "test_predictions"),
        (compute_metrics, test | fitted | measured, "metrics"),
        (plot_reliability, "test_predictions params:evaluate", "reliability_figure"),
        (find_faults, test | {"metrics": "metrics"} | checked, "findings"),
    )


def gate_pipeline(after: list[str]) -> Pipeline:
    """Return the accuracy gate alone; it waits for the datasets `after`."""
    return steps((check_gate, ["metrics", "params:evaluate", *after], None))
