"""When a classifier abstains, in a sentence."""

from collections.abc import Mapping
from typing import Any

from glasshead.reporting.verdicts import Metrics
from glasshead.reporting.wording import estimated, number


def abstention_note(described: Mapping[str, Any], metrics: Metrics) -> str:
    """Return what abstention promises and what test images show; `described` is the classifier's description."""
    abstention = described.get("abstention")
    if abstention is None:
        return "It never abstains: no confidence threshold was fitted."
    target = number(abstention["target_error"])
    promise = (
        f"at most {target} of its answers to images like those of the calibration split are wrong, with a certainty of "
        f"{number(abstention['certainty'])}"
    )
    if abstention["threshold"] is None:
        return f"It always abstains: no confidence threshold can promise that {promise}."
    note = f"It answers above a confidence of {abstention['threshold']:g} and abstains below: {promise}."
    if "coverage" in metrics:
        note += f" It answers a fraction of {estimated(metrics['coverage'])} of the test images"
        wrong = metrics["selective_risk"]
        note += (
            "." if wrong["value"] is None else f"; of those answers, {estimated(wrong)} are wrong."
        )
    return note
