"""Nodes of `calibrate`."""

import logging
from typing import Protocol, runtime_checkable

import pandas as pd

from glasshead.calibration.abstention import Abstention, fit_abstention, rows_needed
from glasshead.calibration.params import CalibrateParams
from glasshead.calibration.table import apply_temperatures

logger = logging.getLogger(__name__)


@runtime_checkable
class Calibratable(Protocol):
    """What calibration needs of a Classifier, whose module imports torch."""

    def with_temperatures(self, temperatures: dict[str, float]) -> "Calibratable":
        """Return a copy that uses these temperatures."""

    def with_abstention(self, abstention: Abstention | None) -> "Calibratable":
        """Return a copy that abstains below this confidence."""


def fit_threshold(
    calibration_logits: pd.DataFrame, temperatures: dict[str, float], parameters: CalibrateParams
) -> Abstention:
    """Return the threshold of confidence below which the classifier abstains, so that it keeps the target error.

    If no threshold can be shown to keep the target error, the classifier always abstains, with a warning.
    """
    rows = apply_temperatures(calibration_logits, temperatures)
    correct = (rows["predicted"] == rows["label"]).to_numpy(bool)
    fitted = fit_abstention(
        rows["confidence"].to_numpy(), correct, parameters.target_error, parameters.certainty
    )
    if fitted["threshold"] is None:
        logger.warning(
            "The classifier always abstains: no confidence threshold keeps calibrate.target_error = %g on %d "
            "calibration rows. That needs at least %d rows above the threshold, all correct, and more with every "
            "mistake. Raise calibrate.target_error, or preprocess.calibration_fraction.",
            parameters.target_error, fitted["rows"],
            rows_needed(parameters.target_error, parameters.certainty),
        )  # fmt: skip
    else:
        logger.info(
            "Answers above a confidence of %g: %.0f %% of calibration rows, error %.3f, "
            "below %.3f with a certainty of %g %%",
            fitted["threshold"], 100 * fitted["coverage"], fitted["error"], fitted["error_bound"],
            100 * fitted["certainty"],
        )  # fmt: skip
    return fitted


def calibrate_classifier(
    uncalibrated: Calibratable,
    temperatures: dict[str, float],
    abstention: Abstention | None = None,
) -> Calibratable:
    """Return the classifier with its temperatures and abstention threshold; its logits stay raw."""
    return uncalibrated.with_temperatures(temperatures).with_abstention(abstention)
