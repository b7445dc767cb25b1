"""Nodes of `calibrate`."""

import logging
from typing import Protocol, runtime_checkable

import pandas as pd

from glasshead.calibration.abstention import Abstention, fit_abstention
from glasshead.calibration.table import (
    LABEL,
    Head,
    apply_temperatures,
    class_columns,
    read_heads,
)
from glasshead.calibration.temperature import FINAL, fit_temperature
from glasshead.errors import CalibrationError, SplitError
from glasshead.pipelines.calibrate.params import CalibrateParams

logger = logging.getLogger(__name__)


@runtime_checkable
class Calibratable(Protocol):
    """What calibration asks of a classifier."""

    def with_temperatures(self, temperatures: dict[str, float]) -> "Calibratable":
        """Return a copy that uses these temperatures."""

    def with_abstention(self, abstention: Abstention | None) -> "Calibratable":
        """Return a copy that abstains below this confidence."""


def select_calibration(logits: pd.DataFrame) -> pd.DataFrame:
    """Return the calibration rows; SplitError if a class that excludes the others has none."""
    rows = logits[logits["split"] == "calibration"].reset_index(drop=True)
    exclusive = () if class_columns(logits, LABEL) else class_columns(logits, "logit/")
    missing = sorted(set(exclusive) - set(rows["label"]))
    if missing:
        raise SplitError(
            f"the calibration split ({len(rows)} rows) has no image of class {', '.join(missing)}; "
            "add images of it or raise preprocess.calibration_share"
        )
    return rows


def fit_temperatures(
    calibration_logits: pd.DataFrame, parameters: CalibrateParams
) -> dict[str, float]:
    """Return T of the classifier as `final`, and of each subtask; T of each class where the output is sigmoid.

    One without a best temperature keeps 1, with a warning: being always right is no reason to stop. The parameter
    `fail` makes that a CalibrationError where it is the classifier's.
    """
    strict = {FINAL} if parameters.without_optimum == "fail" else set()
    return {
        name: _temperature(name, head, strict=name in strict)
        for name, head in read_heads(calibration_logits).items()
    }


def fit_threshold(
    calibration_logits: pd.DataFrame, temperatures: dict[str, float], parameters: CalibrateParams
) -> Abstention:
    """Return the confidence below which the classifier abstains, so that its answers keep to the target error.

    Where no threshold is shown to do so, it always abstains, with a warning.
    """
    rows = apply_temperatures(calibration_logits, temperatures)
    correct = (rows["predicted"] == rows["label"]).to_numpy(bool)
    fitted = fit_abstention(
        rows["confidence"].to_numpy(), correct, parameters.target_error, parameters.certainty
    )
    if fitted["threshold"] is None:
        logger.warning(
            "No confidence is shown to keep the error of answers below calibrate.target_error = %g by %d calibration "
            "rows, so predictions always abstain: raise it, or the rows.",
            parameters.target_error, fitted["rows"],
        )  # fmt: skip
    else:
        logger.info(
            "Answers above a confidence of %g: %.0f %% of the calibration rows, an error of %.4f, below %.4f at %g %%",
            fitted["threshold"], 100 * fitted["coverage"], fitted["error"], fitted["error_bound"],
            100 * fitted["certainty"],
        )  # fmt: skip
    return fitted


def calibrate_classifier(
    uncalibrated: Calibratable,
    temperatures: dict[str, float],
    abstention: Abstention | None = None,
) -> Calibratable:
    """Return the classifier with its temperatures and its threshold; its logits stay raw."""
    return uncalibrated.with_temperatures(temperatures).with_abstention(abstention)


def _temperature(name: str, head: Head, strict: bool) -> float:
    try:
        fit = fit_temperature(head.logits, head.labels)
    except CalibrationError as error:
        if strict:
            raise CalibrationError(
                f"no temperature for the classifier: {error}; "
                "calibrate.without_optimum: keep goes on with T = 1"
            ) from error
        logger.warning("No temperature for %r, it keeps T = 1: %s", name, error)
        return 1.0
    change = f"calibration NLL {fit.nll_before:.4f} -> {fit.nll_after:.4f} on {fit.n} rows"
    logger.info("Temperature of %r: %.3f, %s", name, fit.temperature, change)
    return fit.temperature
