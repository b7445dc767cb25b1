"""Mistakes on test rows: confident mistakes, confused classes, and concept leakage.

Tables have a row for each image: image_id, label, predicted, and the calibrated confidence in the prediction.
"""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
from scipy.special import bdtrc, pdtrc

from glasshead.audit.findings import Finding, Severity

CONFIDENT = 0.95
LEAST_MISTAKES = 5  # fewer are treated as single images
UNLIKELY = 0.01  # largest p-value of as many mistakes, if confidences are right, for a medium or high severity
SHOWN = 50
LARGE_LEAK = 0.1  # fall of accuracy, for a finding of high severity
FAMILY_LEVEL = 0.05  # probability of a false alarm among all pairs of classes
MUCH = 0.1  # fraction of a class's images, for a finding of medium severity
PAIRS = 3  # pairs of confused classes that the finding names


def confident_mistakes(test: pd.DataFrame, subject: str = "It") -> Finding | None:
    """Return a finding if `subject` is wrong with a confidence of at least `CONFIDENT`, the surest images first.

    Severity is low for fewer than `LEAST_MISTAKES` mistakes, or if their number is expected at these confidences
    (Poisson, p > `UNLIKELY`). Otherwise severity is medium, or high for at least twice the expected number.
    """
    sure = test[test["confidence"] >= CONFIDENT]
    wrong = mistakes_of(sure)
    if wrong.empty:
        return None
    expected = float((1 - sure["confidence"]).sum())
    p = float(pdtrc(len(wrong) - 1, expected))
    severity: Severity = "low"
    if len(wrong) >= LEAST_MISTAKES and p <= UNLIKELY:
        severity = "high" if len(wrong) >= 2 * expected else "medium"
    return Finding(
        check="confident_mistakes",
        severity=severity,
        summary=(
            f"{subject} is wrong in {len(wrong):,} of the {len(sure):,} test images in which its confidence is at "
            f"least {CONFIDENT:g}. If the confidence were right, {_number(expected)} mistakes would be expected"
            f"{', so chance explains these' if p > UNLIKELY else ''}."
        ),
        evidence={
            "threshold": CONFIDENT,
            "images": len(sure),
            "mistakes": len(wrong),
            "expected": expected,
            "p": p,
        },
        rows=surest(wrong),
        advice=(
            "Look at these images, beginning with the first. If a label is wrong, correct it at the source and run "
            "again from ingest on. If it is right, add training images like this one."
        ),
    )


def confused_classes(pairs: pd.DataFrame, classes: int) -> Finding | None:
    """Return a finding on the pairs of classes that are confused more often than chance explains.

    By chance, the mistakes on a class would spread evenly over all other classes (there are `classes` in total). A
    binomial test compares each pair with that, at a level of 5 % for all pairs together (Bonferroni); a pair also needs
    at least `LEAST_MISTAKES` images. Severity: medium if a pair holds at least `MUCH` of its true class, else low.

    `pairs`, the most frequent first, has true, predicted, count, fraction (of the true class) and examples, a JSON
    list of image ids.
    """
    if pairs.empty:
        return None
    mistakes = pairs.groupby("true")["count"].transform("sum")
    p = bdtrc(pairs["count"] - 1, mistakes, 1 / max(classes - 1, 1))
    beyond_chance = (p * len(pairs) <= FAMILY_LEVEL) & (pairs["count"] >= LEAST_MISTAKES)
    frequent = pairs[beyond_chance].head(PAIRS)
    if frequent.empty:
        return None
    named = [
        f"{row['true']} for {row['predicted']} in {row['count']:,} images ({100 * row['fraction']:.0f} % of its class)"
        for row in frequent.to_dict("records")
    ]
    return Finding(
        check="confused_classes",
        severity="medium" if frequent["fraction"].max() >= MUCH else "low",
        summary=f"It takes {'; '.join(named)}.",
        evidence={"pairs": frequent.drop(columns="examples").to_dict("records")},
        rows=[image_id for ids in frequent["examples"] for image_id in json.loads(ids)],
        advice=(
            "Look at these images: add training images of both classes that resemble them, or, in a taxonomy of your "
            "own, a concept that tells the two apart."
        ),
    )


def concept_leakage(metrics: Mapping[str, Mapping[str, Any]]) -> Finding | None:
    """Return a finding if accuracy falls when each concept is reduced to its most probable value (arg-max).

    The concept probabilities then carry information beyond the concepts' names: Mahinpei et al. 2021, arXiv:2106.13314.
    None without concepts, or if the intervals overlap.
    """
    soft, hard = metrics["accuracy"], metrics.get("accuracy_hard_concepts")
    if hard is None or hard["high"] is None or soft["low"] is None or hard["high"] >= soft["low"]:
        return None
    return Finding(
        check="concept_leakage",
        severity="high" if soft["value"] - hard["value"] >= LARGE_LEAK else "medium",
        summary=(
            f"Accuracy falls from {soft['value']:.3f} ({soft['low']:.3f}–{soft['high']:.3f}) to {hard['value']:.3f} "
            f"({hard['low']:.3f}–{hard['high']:.3f}) when each concept gives only its most probable value. The "
            "probabilities carry information beyond the concepts' names."
        ),
        evidence={"accuracy": dict(soft), "accuracy_hard_concepts": dict(hard)},
        rows=[],
        advice=(
            "Add concepts that tell the classes apart by themselves, or train the concepts before the meta-learner "
            "(train_heads.training.mode=sequential or independent)."
        ),
    )


def mistakes_of(test: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose prediction is wrong."""
    return test[test["predicted"] != test["label"]]


def surest(rows: pd.DataFrame) -> list[str]:
    """Return the image ids of up to `SHOWN` rows, the most confident first."""
    ordered = rows.sort_values(["confidence", "image_id"], ascending=[False, True])
    return [str(image_id) for image_id in ordered["image_id"].head(SHOWN)]


def _number(expected: float) -> str:
    return f"{expected:,.1f}" if expected >= 1 else f"{expected:.2g}"
