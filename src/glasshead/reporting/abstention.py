"""Below which confidence a classifier is not to answer, in a sentence."""

from collections.abc import Mapping
from typing import Any

from glasshead.reporting.verdicts import Metrics
from glasshead.reporting.wording import estimated, number


def abstention_note(described: Mapping[str, Any], metrics: Metrics) -> str:
    """Return what calibration images promise and test images show; `described` is the classifier's own description."""
    abstention = described.get("abstention")
    if abstention is None:
        return "No threshold of confidence was fitted below which it should not answer."
    promise = (
        f"at most {number(abstention['target_error'])} of its answers to images like those of the calibration split are "
        f"wrong, with a certainty of {number(abstention['certainty'])}"
    )
    if abstention["threshold"] is None:
        return f"No threshold of confidence can promise that {promise}: it is to answer nothing."
    note = (
        f"Above a confidence of {number(abstention['threshold'])}, {promise}; below, it abstains."
    )
    if "coverage" in metrics:
        note += f" It so answers a fraction of {estimated(metrics['coverage'])} of the test images"
        wrong = metrics["selective_risk"]
        note += (
            "." if wrong["value"] is None else f"; of those answers, {estimated(wrong)} are wrong."
        )
    return note
