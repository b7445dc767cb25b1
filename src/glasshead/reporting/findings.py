"""The findings of all checks, worst first, with the images that show them."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from glasshead.audit.findings import SEVERITIES, Finding
from glasshead.errors import ArtifactError
from glasshead.images.table import ImageTable
from glasshead.reporting.pictures import Picture, miniature

SHOWN_ROWS = 8  # images shown for a finding
MOST_SHOWN = 400  # images shown for all findings together, of about 8 kB each


class ListedFinding(Finding):
    """A finding as in findings.json, with the `subject` that it is about."""

    subject: str


class ShownImage(NamedTuple):
    """An image of a finding: its id and, if available, a small picture, the image's label and the model's answer."""

    image_id: str
    picture: Picture | None = None
    label: str = ""
    answer: str = ""


class ShownFinding(NamedTuple):
    """A finding in a report, with its first images."""

    finding: ListedFinding
    images: Sequence[ShownImage]


def sorted_findings(findings: Mapping[str, list[Any] | None]) -> list[ListedFinding]:
    """Return the findings on all subjects, the most severe first; None stands for checks that have not run.

    Raises ArtifactError if a list holds anything but findings.
    """
    listed = [
        _finding(subject, content)
        for subject, contents in findings.items()
        for content in contents or []
    ]
    return sorted(listed, key=lambda finding: SEVERITIES.index(finding["severity"]))


def shown_ids(findings: Iterable[ListedFinding]) -> list[str]:
    """Return the ids of the first `SHOWN_ROWS` images of each finding, at most `MOST_SHOWN`, without repeats."""
    rows = (row for finding in findings for row in finding["rows"][:SHOWN_ROWS])
    return list(dict.fromkeys(islice(rows, MOST_SHOWN)))


def with_images(
    findings: Sequence[ListedFinding], images: ImageTable, answers: Mapping[str, str]
) -> list[ShownFinding]:
    """Return the findings with at most `MOST_SHOWN` images and the model's answers to them.

    For images without an answer, and images that the table lacks, only the id is given. Raises ArtifactError for a
    damaged image.
    """
    ids = images.ids()
    row_of = {ids[row]: row for row in np.flatnonzero(ids.isin(list(answers))).tolist()}

    @cache
    def seen(image_id: str) -> ShownImage:
        if image_id not in row_of:
            return ShownImage(image_id)
        row = row_of[image_id]
        picture = miniature(images.pil(row))
        return ShownImage(image_id, picture, images.label(row), answers[image_id])

    left = MOST_SHOWN
    shown = []
    for finding in findings:
        rows = finding["rows"][:SHOWN_ROWS]
        pictured = [seen(row) for row in rows[:left]]
        left -= len(pictured)
        shown.append(ShownFinding(finding, [*pictured, *map(ShownImage, rows[len(pictured) :])]))
    return shown


def size_of(findings: Iterable[ShownFinding]) -> int:
    """Return the total size of the findings' pictures in bytes."""
    images = (image for finding in findings for image in finding.images)
    return sum(len(image.picture.data) for image in images if image.picture)


def _finding(subject: str, content: Any) -> ListedFinding:
    expected = Finding.__required_keys__
    lacking = expected - set(content) if isinstance(content, Mapping) else expected
    if lacking or content["severity"] not in SEVERITIES:
        what = f"lacks {', '.join(sorted(lacking))}" if lacking else "has an unknown severity"
        raise ArtifactError(
            f"A finding on {subject} {what}. Run the evaluate pipeline again, which writes findings.json."
        )
    finding: ListedFinding = {**content, "subject": subject}  # type: ignore[typeddict-item]
    return finding
