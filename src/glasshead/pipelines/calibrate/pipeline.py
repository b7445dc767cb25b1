"""The graph of `calibrate`: only `calibration_logits` reaches the fit."""

from kedro.pipeline import Node, Pipeline

from glasshead.calibration.table import apply_temperatures
from glasshead.pipelines.calibrate.nodes import (
    calibrate_classifier,
    fit_temperatures,
    fit_threshold,
    select_calibration,
)


def create_pipeline() -> Pipeline:
    """logits, uncalibrated → temperatures, abstention, predictions, classifier."""
    threshold = Node(
        fit_threshold,
        ["calibration_logits", "temperatures", "params:calibrate"],
        "abstention",
        name="fit_threshold",
    )
    return _calibrated("abstention") + Pipeline([threshold])


def sigmoid_pipeline() -> Pipeline:
    """The same for an output that does not answer with one class, and so has no threshold of abstention."""
    return _calibrated()


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
