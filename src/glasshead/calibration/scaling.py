"""Temperatures from the calibration rows of a table of logits, and what its test rows score at them."""

import logging

import pandas as pd

from glasshead.calibration.params import CalibrateParams
from glasshead.calibration.statistics import softmax_statistics
from glasshead.calibration.table import (
    LABEL,
    Head,
    apply_temperatures,
    class_columns,
    read_heads,
    table_of_test,
)
from glasshead.calibration.temperature import FINAL, fit_temperature
from glasshead.errors import CalibrationError, SplitError

logger = logging.getLogger(__name__)


def select_calibration(logits: pd.DataFrame) -> pd.DataFrame:
    """Return the calibration rows; SplitError if a class that excludes the others has none."""
    rows = logits[logits["split"] == "calibration"].reset_index(drop=True)
    exclusive = () if class_columns(logits, LABEL) else class_columns(logits, "logit/")
    missing = sorted(set(exclusive) - set(rows["label"]))
    if missing:
        raise SplitError(
            f"the calibration split ({len(rows)} rows) has no image of class {', '.join(missing)}; "
            "add images of it or raise preprocess.calibration_fraction"
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


def score_logits(
    logits: pd.DataFrame, parameters: CalibrateParams, n_bins: int
) -> dict[str, float | None]:
    """Return accuracy, nll and ece of test rows at the temperature that the calibration rows give.

    Raises SplitError where either split lacks rows.
    """
    temperatures = fit_temperatures(select_calibration(logits), parameters)
    test = table_of_test(logits, apply_temperatures(logits, temperatures))
    statistics = softmax_statistics(read_heads(test), temperatures, n_bins)
    return {name: statistics[name].value for name in ("accuracy", "nll", "ece")}


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
