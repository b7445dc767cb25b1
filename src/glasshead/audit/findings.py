"""The common form of all findings."""

from collections.abc import Iterable
from typing import Any, Literal, TypedDict

from glasshead.calibration.bootstrap import Estimate

Severity = Literal["high", "medium", "low"]
SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low")
ATTRIBUTES_ADVICE = (
    "Take the images from a parquet file or a hub data set, and name columns such as background or camera as "
    "attribute_columns of that source (scenes has attributes of its own, other sources have none); run from ingest on."
)


class Finding(TypedDict):
    """A problem, or a check that could not be made.

    Attributes:
        check: the name of the check.
        severity: high, medium or low; low if the check could not be made.
        summary: what was found, in one or two sentences with numbers.
        evidence: the numbers, as JSON values.
        rows: ids of the images that show the problem, the clearest first.
        advice: what to do about the problem.
    """

    check: str
    severity: Severity
    summary: str
    evidence: dict[str, Any]
    rows: list[str]
    advice: str


def not_checked(check: str, reason: str, advice: str) -> Finding:
    """Return a finding which says that a check could not be made, and what to do so that it can."""
    return Finding(
        check=check,
        severity="low",
        summary=f"Not checked: {reason}.",
        evidence={},
        rows=[],
        advice=advice,
    )


def worst_first(findings: Iterable[Finding | None]) -> list[Finding]:
    """Return the findings without None, the most severe first."""
    made = [finding for finding in findings if finding]
    return sorted(made, key=lambda finding: SEVERITIES.index(finding["severity"]))


def percent(estimate: Estimate) -> str:
    """Return a fraction with its interval, such as "31 % (28–34 %)", or "undefined"."""
    if estimate.value is None:
        return "undefined"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.0%}".replace("%", " %")
    return f"{100 * estimate.value:.0f} % ({100 * estimate.low:.0f}–{100 * estimate.high:.0f} %)"
