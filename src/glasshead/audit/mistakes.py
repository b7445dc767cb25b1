"""Confident mistakes on test rows: where labels are wrong, or training lacks something.

Tables have a row per image: image_id, label, predicted, and the calibrated confidence in that.
"""

import pandas as pd
from scipy.stats import poisson

from glasshead.audit.findings import Finding, Severity
from glasshead.errors import ArtifactError

COLUMNS = {"image_id", "label", "predicted", "confidence"}
CONFIDENT = 0.95
LEAST_MISTAKES = 5  # for them to be more than single images
UNLIKELY = 0.01  # probability of as many mistakes if confidences are right
SHOWN = 50


def confident_mistakes(test: pd.DataFrame, subject: str = "It") -> Finding | None:
    """Return a finding where `subject` is wrong with a confidence of at least `CONFIDENT`, the surest images first.

    Severity: low where they are fewer than `LEAST_MISTAKES`, or so many are to be expected of these confidences
    (Poisson, p > `UNLIKELY`), else medium; high where they are at least twice as many as expected, too.

    Raises ArtifactError as `check_rows` does.
    """
    check_rows(test)
    sure = test[test["confidence"] >= CONFIDENT]
    wrong = mistakes_of(sure)
    if wrong.empty:
        return None
    expected = float((1 - sure["confidence"]).sum())
    p = float(poisson.sf(len(wrong) - 1, expected))
    severity: Severity = "low"
    if len(wrong) >= LEAST_MISTAKES and p <= UNLIKELY:
        severity = "high" if len(wrong) >= 2 * expected else "medium"
    return Finding(
        check="confident_mistakes",
        severity=severity,
        summary=(
            f"{subject} errs in {len(wrong):,} of the {len(sure):,} test images in which its confidence is at least "
            f"{CONFIDENT:g}; so much confidence lets one expect {_number(expected)} mistakes"
            f"{', so that these are no surprise' if p > UNLIKELY else ''}."
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
            "Look at these images, the first ones first. Where a label is wrong, correct it at the source and run "
            "again from ingest on; where it is right, add training images like this one."
        ),
    )


def check_rows(test: pd.DataFrame) -> None:
    """Raise ArtifactError where there are no rows, a column is missing, or a confidence is not in [0, 1]."""
    wrong = None
    if lacking := COLUMNS - set(test.columns):
        wrong = f"lack {', '.join(sorted(lacking))}"
    elif test.empty:
        wrong = "have no rows"
    elif not test["confidence"].between(0, 1).all():
        wrong = "have a confidence outside 0 to 1"
    if wrong:
        raise ArtifactError(
            f"The test predictions {wrong}. Run the pipeline that makes them again."
        )


def mistakes_of(test: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that are wrong."""
    return test[test["predicted"] != test["label"]]


def surest(rows: pd.DataFrame) -> list[str]:
    """Return the image ids of up to `SHOWN` rows, the most confident first."""
    ordered = rows.sort_values(["confidence", "image_id"], ascending=[False, True])
    return [str(image_id) for image_id in ordered["image_id"].head(SHOWN)]


def _number(expected: float) -> str:
    return f"{expected:,.1f}" if expected >= 1 else f"{expected:.2g}"
