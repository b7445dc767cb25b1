"""Findings of all checks that have run, worst first."""

from collections.abc import Mapping
from typing import Any, TypedDict

from glasshead.errors import ArtifactError

SEVERITIES = ("high", "medium", "low")


class Finding(TypedDict):
    """What a check found, as findings.json holds it, and the `subject` that it is about."""

    check: str
    severity: str
    summary: str
    evidence: Any
    rows: list[str]
    advice: str
    subject: str


def sorted_findings(found: Mapping[str, list[Any] | None]) -> list[Finding]:
    """Return the findings on each subject, by falling severity; None stands for checks that have not run.

    Raises ArtifactError where a list holds something else than findings.
    """
    listed = [
        _finding(subject, each) for subject, several in found.items() for each in several or []
    ]
    return sorted(listed, key=lambda each: SEVERITIES.index(each["severity"]))


def _finding(subject: str, content: Any) -> Finding:
    expected = Finding.__required_keys__ - {"subject"}
    lacking = expected - set(content) if isinstance(content, Mapping) else expected
    if lacking or content["severity"] not in SEVERITIES:
        what = f"lacks {', '.join(sorted(lacking))}" if lacking else "has an unknown severity"
        raise ArtifactError(
            f"A finding on {subject} {what}. Run the check that wrote its findings.json again."
        )
    finding: Finding = {**content, "subject": subject}  # type: ignore[typeddict-item]
    return finding
