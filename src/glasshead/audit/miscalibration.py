"""A finding on confidence that differs from accuracy by more than chance explains."""

from collections.abc import Mapping

import pandas as pd

from glasshead.audit.findings import Finding, Severity
from glasshead.audit.mistakes import mistakes_of, surest

HIGH, MEDIUM = 0.05, 0.02  # least ECE minus `consistency` for each severity
ADVICE = {
    "over": (
        "Let it abstain below a threshold (calibrate.target_error), and calibrate on images like those in use "
        "(preprocess.calibration_fraction). One temperature cannot lower confidence in some ranges only."
    ),
    "under": (
        "Calibrate on more images (preprocess.calibration_fraction). A threshold on this confidence would reject "
        "correct answers, and one temperature cannot raise confidence in some ranges only."
    ),
}


def miscalibration(
    test: pd.DataFrame,
    reliability: pd.DataFrame,
    ece: Mapping[str, float | None],
    consistency: float | None,
) -> Finding | None:
    """Return a finding if ECE exceeds `consistency`, which a calibrated classifier exceeds in 5 % of test sets.

    `reliability` has from, to, n, confidence, accuracy, low and high of each bin. The finding names the bin that adds
    most to ECE, preferably one whose confidence lies outside the interval of its accuracy. The finding's rows are the
    mistakes in that bin if the bin is overconfident, else the correct images in it. Severity: high if ECE exceeds
    `consistency` by at least `HIGH`, medium by at least `MEDIUM`, else low.
    """
    if ece["value"] is None or consistency is None or ece["value"] <= consistency:
        return None
    beyond = ece["value"] - consistency
    severity: Severity = "high" if beyond >= HIGH else "medium" if beyond >= MEDIUM else "low"
    worst = _worst_bin(reliability)
    way = _way(worst["confidence"] - worst["accuracy"])
    bias = float(test["confidence"].mean() - (test["predicted"] == test["label"]).mean())
    inside = test[_within(test["confidence"], worst["from"], worst["to"])]
    wrong = mistakes_of(inside)
    return Finding(
        check="miscalibration",
        severity=severity,
        summary=(
            f"Confidence differs from accuracy by {ece['value']:.3f} on average (ECE); a calibrated classifier stays "
            f"below {consistency:.3f} in 95 % of test sets of this size. Over all images it is {_way(bias)}confident "
            f"by {abs(bias):.3f}. The largest part comes from confidences between {worst['from']:.2f} and "
            f"{worst['to']:.2f}: {worst['n']:.0f} images have a confidence of {worst['confidence']:.3f} and accuracy "
            f"{worst['accuracy']:.3f} ({worst['low']:.3f}–{worst['high']:.3f}), so it is {way}confident there."
        ),
        evidence={
            "ece": dict(ece),
            "ece_consistency_95": consistency,
            "confidence_less_accuracy": bias,
            "bin": {str(name): float(value) for name, value in worst.items()},
        },
        rows=surest(wrong if way == "over" else inside.drop(wrong.index)),
        advice=ADVICE[way],
    )


def _worst_bin(reliability: pd.DataFrame) -> pd.Series:
    confidence = reliability["confidence"]
    outside = (confidence < reliability["low"]) | (confidence > reliability["high"])
    candidates = reliability[outside] if outside.any() else reliability
    cost = candidates["n"] * (candidates["confidence"] - candidates["accuracy"]).abs()
    return candidates.iloc[int(cost.argmax())]


def _within(confidence: pd.Series, start: float, stop: float) -> pd.Series:
    """Return which confidences lie in the bin [start, stop); the last bin is closed."""
    return confidence.between(start, stop, inclusive="both" if stop >= 1 else "left")


def _way(gap: float) -> str:
    return "over" if gap > 0 else "under"
