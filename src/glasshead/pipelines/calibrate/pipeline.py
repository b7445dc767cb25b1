"""The graph of `calibrate`: only `calibration_logits` reaches the fit."""

from kedro.pipeline import Node, Pipeline

from glasshead.calibration.tables import fit_temperatures, select_calibration
from glasshead.pipelines.calibrate.nodes import (
    apply_temperatures,
    calibrate_classifier,
    fit_threshold,
)


def create_pipeline() -> Pipeline:
    """logits, uncalibrated → temperatures, abstention, predictions, classifier."""
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
                fit_threshold,
                ["calibration_logits", "temperatures", "params:calibrate"],
                "abstention",
                name="fit_threshold",
            ),
            Node(
                apply_temperatures,
                ["logits", "temperatures"],
                "predictions",
                name="apply_temperatures",
            ),
            Node(
                calibrate_classifier,
                ["uncalibrated", "temperatures", "abstention"],
                "classifier",
                name="calibrate_classifier",
            ),
        ]
    )
