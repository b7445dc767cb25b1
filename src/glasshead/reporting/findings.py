"""Findings of all checks that have run, worst first."""

from collections.abc import Mapping
from typing import Any

from glasshead.audit.findings import SEVERITIES, Finding
from glasshead.errors import ArtifactError


class ListedFinding(Finding):
    """What a check found, as findings.json holds it, and the `subject` that it is about."""

    subject: str


def sorted_findings(found: Mapping[str, list[Any] | None]) -> list[ListedFinding]:
    """Return the findings on each subject, by falling severity; None stands for checks that have not run.

    Raises ArtifactError where a list holds something else than findings.
    """
    listed = [
        _finding(subject, each) for subject, several in found.items() for each in several or []
    ]
    return sorted(listed, key=lambda each: SEVERITIES.index(each["severity"]))


def _finding(subject: str, content: Any) -> ListedFinding:
    expected = Finding.__required_keys__
    lacking = expected - set(content) if isinstance(content, Mapping) else expected
    if lacking or content["severity"] not in SEVERITIES:
        what = f"lacks {', '.join(sorted(lacking))}" if lacking else "has an unknown severity"
        raise ArtifactError(
            f"A finding on {subject} {what}. Run the check that wrote its findings.json again."
        )
    finding: ListedFinding = {**content, "subject": subject}  # type: ignore[typeddict-item]
    return finding
