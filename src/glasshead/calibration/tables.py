"""Temperatures from the calibration rows of a table of logits, and what they make of its test rows."""

import logging

import pandas as pd

from glasshead.calibration import metrics
from glasshead.calibration.heads import HeadLogits, class_columns, read_heads
from glasshead.calibration.params import CalibrateParams
from glasshead.calibration.temperature import FINAL, fit_temperature, probabilities_at
from glasshead.errors import CalibrationError, SplitError

logger = logging.getLogger(__name__)


def select_calibration(logits: pd.DataFrame) -> pd.DataFrame:
    """Return the calibration rows; SplitError if a class has none."""
    rows = logits[logits["split"] == "calibration"].reset_index(drop=True)
    missing = sorted(set(class_columns(logits, "logit/")) - set(rows["label"]))
    if missing:
        raise SplitError(
            f"the calibration split ({len(rows)} rows) has no image of class {', '.join(missing)}; "
            "add images of it or raise preprocess.calibration_share"
        )
    return rows


def fit_temperatures(
    calibration_logits: pd.DataFrame, parameters: CalibrateParams
) -> dict[str, float]:
    """Return T of the classifier as `final`, and of each subtask head.

    One without a best temperature keeps 1, with a warning: being always right is no reason to stop. The parameter
    `fail` makes that a CalibrationError where it is the classifier's.
    """
    strict = {FINAL} if parameters.without_optimum == "fail" else set()
    return {
        name: _temperature(name, head, strict=name in strict)
        for name, head in read_heads(calibration_logits).items()
    }


def test_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the test rows; SplitError if there are none."""
    test = table[table["split"] == "test"].reset_index(drop=True)
    if test.empty:
        raise SplitError("the test split is empty, so there is nothing to evaluate")
    return test


def score_logits(
    logits: pd.DataFrame, parameters: CalibrateParams, n_bins: int
) -> dict[str, float | None]:
    """Return accuracy, nll and ece of test rows at the temperature that the calibration rows give.

    Raises SplitError where either split lacks rows.
    """
    temperature = fit_temperatures(select_calibration(logits), parameters)[FINAL]
    head = read_heads(test_rows(logits))[FINAL]
    probabilities = probabilities_at(head.logits, temperature)
    statistics = {
        "accuracy": metrics.accuracy(probabilities, head.labels),
        "nll": metrics.nll(head.logits / temperature, head.labels),
        "ece": metrics.ece(probabilities, head.labels, n_bins),
    }
    return {name: statistic.value for name, statistic in statistics.items()}


def _temperature(name: str, head: HeadLogits, strict: bool) -> float:
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
