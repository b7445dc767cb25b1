"""The graph of `calibrate`: only `calibration_logits` reaches the fit."""

from kedro.pipeline import Node, Pipeline

from glasshead.calibration.scaling import fit_temperatures, select_calibration
from glasshead.calibration.table import apply_temperatures
from glasshead.calibration.temperature import Output
from glasshead.pipelines.calibrate.nodes import (
    calibrate_classifier,
    fit_threshold,
)


def create_pipeline(output: Output = "softmax") -> Pipeline:
    """logits, uncalibrated → temperatures, predictions, classifier, and abstention of a softmax output."""
    if output == "sigmoid":
        return _calibrated()
    threshold = Node(
        fit_threshold,
        ["calibration_logits", "temperatures", "params:calibrate"],
        "abstention",
        name="fit_threshold",
    )
    return _calibrated("abstention") + Pipeline([threshold])


def _calibrated(*abstention: str) -> Pipeline:
    return Pipeline(
        [
            Node(select_calibration, "logits", "calibration_logits", name="select_calibration"),
            Node(
                fit_temperatures,
                ["calibration_logits", "params:calibrate"],
                "temperatures",
                name="fit_temperatures",
            ),
            Node(
                apply_temperatures,
                ["logits", "temperatures"],
                "predictions",
                name="apply_temperatures",
            ),
            Node(
                calibrate_classifier,
                ["uncalibrated", "temperatures", *abstention],
                "classifier",
                name="calibrate_classifier",
            ),
        ]
    )
