"""Temperatures fitted on the calibration rows of a table of logits, and the scores of its test rows."""

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
    """Return the calibration rows; SplitError if a class of a softmax output has none."""
    rows = logits[logits["split"] == "calibration"].reset_index(drop=True)
    exclusive = () if class_columns(logits, LABEL) else class_columns(logits, "logit/")
    missing = sorted(set(exclusive) - set(rows["label"]))
    if missing:
        raise SplitError(
            f"The calibration split ({len(rows)} rows) has no image of class {', '.join(missing)}. Add images of "
            "this class or raise preprocess.calibration_fraction, and run the preprocess pipeline again."
        )
    return rows


def fit_temperatures(
    calibration_logits: pd.DataFrame, parameters: CalibrateParams
) -> dict[str, float]:
    """Return the temperature T of the classifier as `final`, and of each subtask; for a sigmoid output, of each class.

    If no temperature minimises the NLL, T = 1 is kept with a warning. With `without_optimum: fail`, the classifier's
    own temperature raises CalibrationError instead.
    """
    strict = {FINAL} if parameters.without_optimum == "fail" else set()
    return {
        name: _temperature(name, head, strict=name in strict)
        for name, head in read_heads(calibration_logits).items()
    }


def score_logits(
    logits: pd.DataFrame, parameters: CalibrateParams, n_bins: int
) -> dict[str, float | None]:
    """Return accuracy, nll and ece of test rows at the temperature fitted on the calibration rows.

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
                f"The classifier has no optimal temperature: {error}. Or set calibrate.without_optimum to keep: "
                "the run then continues with T = 1."
            ) from error
        logger.warning("%r keeps T = 1, as no temperature is optimal: %s", name, error)
        return 1.0
    change = f"calibration NLL {fit.nll_before:.3f} -> {fit.nll_after:.3f} on {fit.n} rows"
    logger.info("Temperature of %r: %.3f, %s", name, fit.temperature, change)
    return fit.temperature
