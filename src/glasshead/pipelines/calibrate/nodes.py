"""Nodes of `calibrate`."""

import logging
from typing import Protocol, runtime_checkable

import pandas as pd

from glasshead.calibration.abstention import Abstention, fit_abstention
from glasshead.calibration.heads import read_heads
from glasshead.calibration.params import CalibrateParams
from glasshead.calibration.temperature import FINAL, probabilities_at
from glasshead.errors import ArtifactError

logger = logging.getLogger(__name__)


@runtime_checkable
class Calibratable(Protocol):
    """What calibration asks of a classifier."""

    def with_temperatures(self, temperatures: dict[str, float]) -> "Calibratable":
        """Return a copy that uses these temperatures, `final` and one per subtask."""

    def with_abstention(self, abstention: Abstention) -> "Calibratable":
        """Return a copy that abstains below this confidence."""


def fit_threshold(
    calibration_logits: pd.DataFrame, temperatures: dict[str, float], parameters: CalibrateParams
) -> Abstention:
    """Return the confidence below which the classifier abstains, so that its answers keep to the target error.

    Where no threshold is shown to do so, it always abstains, with a warning.
    """
    head = read_heads(calibration_logits)[FINAL]
    probabilities = probabilities_at(head.logits, temperatures[FINAL])
    correct = probabilities.argmax(axis=1) == head.labels
    found = fit_abstention(
        probabilities.max(axis=1), correct, parameters.target_error, parameters.certainty
    )
    if found["threshold"] is None:
        logger.warning(
            "No confidence is shown to keep the error of answers below calibrate.target_error = %g by %d calibration "
            "rows, so predictions always abstain: raise it, or the rows.",
            parameters.target_error, found["rows"],
        )  # fmt: skip
    else:
        logger.info(
            "Answers above a confidence of %g: %.0f %% of the calibration rows, an error of %.4f, below %.4f at %g %%",
            found["threshold"], 100 * found["coverage"], found["error"], found["error_bound"], 100 * found["certainty"],
        )  # fmt: skip
    return found


def apply_temperatures(logits: pd.DataFrame, temperatures: dict[str, float]) -> pd.DataFrame:
    """Return predicted class, confidence and calibrated probabilities of all heads, for all rows.

    Raises ArtifactError if `temperatures` are not those of the heads of `logits`.
    """
    heads = read_heads(logits)
    if set(heads) != set(temperatures):
        raise ArtifactError(
            "The temperatures are of another training than the logits. Run the calibrate pipeline again."
        )
    final = probabilities_at(heads[FINAL].logits, temperatures[FINAL])
    columns = {
        "predicted": [heads[FINAL].classes[index] for index in final.argmax(axis=1)],
        "confidence": final.max(axis=1),
    }
    for name, head in heads.items():
        prefix = "probability/" if name == FINAL else f"concept/{name}/"
        values = probabilities_at(head.logits, temperatures[name])
        columns |= {prefix + label: values[:, k] for k, label in enumerate(head.classes)}
    identity = logits[["image_id", "split", "label"]]
    return pd.concat([identity, pd.DataFrame(columns, index=logits.index)], axis=1)


def calibrate_classifier(
    uncalibrated: Calibratable, temperatures: dict[str, float], abstention: Abstention
) -> Calibratable:
    """Return the classifier with its temperatures and its threshold; its logits stay raw."""
    return uncalibrated.with_temperatures(temperatures).with_abstention(abstention)
