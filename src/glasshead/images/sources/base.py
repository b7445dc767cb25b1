"""What every source gives: class names, and a stream of records and refusals."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from glasshead.images.table import Record


class Refused(NamedTuple):
    """A file or row that gives no record, and why: a row of the quarantine table."""

    file: str
    reason: str


@dataclass(frozen=True)
class Source:
    """Class names in index order, the records in order, and the attributes that every record carries."""

    classes: tuple[str, ...]
    records: Iterable[Record | Refused]
    attributes: tuple[str, ...] = ()


def plain_record(
    image_id: str,
    image: bytes,
    label: str,
    given_split: str | None,
    attributes: dict[str, str] | None = None,
) -> Record:
    """Return the record of an image without a mask or planted defects."""
    return Record(
        image_id=image_id,
        image=image,
        label=label,
        given_split=given_split,
        mask=None,
        attributes=attributes or {},
        defects=[],
    )
