"""Findings of all checks that have run, worst first, and the images that show them."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from glasshead.audit.findings import SEVERITIES, Finding
from glasshead.errors import ArtifactError
from glasshead.images.table import ImageTable
from glasshead.reporting.pictures import Picture, miniature

SHOWN_ROWS = 8  # images of a finding


class ListedFinding(Finding):
    """What a check found, as findings.json holds it, and the `subject` that it is about."""

    subject: str


class ShownImage(NamedTuple):
    """A small picture of an image, its label, and what the model says of it; nothing where that is not known."""

    picture: Picture
    label: str
    answer: str


def sorted_findings(found: Mapping[str, list[Any] | None]) -> list[ListedFinding]:
    """Return the findings on each subject, by falling severity; None stands for checks that have not run.

    Raises ArtifactError where a list holds something else than findings.
    """
    listed = [
        _finding(subject, each) for subject, several in found.items() for each in several or []
    ]
    return sorted(listed, key=lambda each: SEVERITIES.index(each["severity"]))


def shown_ids(findings: Iterable[ListedFinding]) -> list[str]:
    """Return the ids of the first `SHOWN_ROWS` images of each finding, each once."""
    return list(dict.fromkeys(row for each in findings for row in each["rows"][:SHOWN_ROWS]))


def shown_images(
    image_ids: Iterable[str], images: ImageTable, answers: Mapping[str, str]
) -> dict[str, ShownImage]:
    """Return the images by id, with the answer to each; those that the table does not have are left out.

    Raises ArtifactError where the bytes of one are damaged.
    """
    ids = images.ids()
    return {
        ids[row]: ShownImage(
            miniature(images.pil(row)), images.label(row), answers.get(ids[row], "")
        )
        for row in np.flatnonzero(ids.isin(list(image_ids))).tolist()
    }


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
