"""The graph of `calibrate`: the fits get only `calibration_logits`."""

from kedro.pipeline import Pipeline

from glasshead.calibration.temperature import Output
from glasshead.deferred import deferred
from glasshead.templates import step, steps

with deferred(__name__):
    from glasshead.calibration.scaling import fit_temperatures, select_calibration
    from glasshead.calibration.table import apply_temperatures
    from glasshead.pipelines.calibrate.nodes import calibrate_classifier, fit_threshold


def create_pipeline(output: Output = "softmax") -> Pipeline:
    """logits, uncalibrated → temperatures, predictions, classifier; for a softmax output also abstention."""
    abstention = ["abstention"] if output == "softmax" else []
    calibrated = steps(
        (select_calibration, "logits", "calibration_logits"),
        (fit_temperatures, "calibration_logits params:calibrate", "temperatures"),
        (apply_temperatures, "logits temperatures", "predictions"),
        (calibrate_classifier, ["uncalibrated", "temperatures", *abstention], "classifier"),
    )
    threshold = step(
        fit_threshold, "calibration_logits temperatures params:calibrate", "abstention"
    )
    return calibrated + Pipeline([threshold] if abstention else [])
