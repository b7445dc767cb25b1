"""The type of all sources: class names, and a stream of records and refused files."""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from pydantic import BaseModel

from glasshead.images.table import Record


class Refused(NamedTuple):
    """A file or row that cannot become a record, and the reason: a row of the quarantine table."""

    file: str
    reason: str


@dataclass(frozen=True)
class Source:
    """Class names in index order, the records in order, and the attributes that every record carries.

    `total` is the number of records with those refused, if it is known before they are read.
    """

    classes: tuple[str, ...]
    records: Iterable[Record | Refused]
    attributes: tuple[str, ...] = ()
    total: int | None = None


class SourceParams(BaseModel, extra="forbid", frozen=True):
    """Parameters of a source of images, with the method that opens the source.

    Attributes:
        location: the name of the field for the images' location, if that field has no default and must be set.
    """

    location: ClassVar[str | None] = None

    @abstractmethod
    def open(self, seed: int) -> Source:
        """Return the images; SourceError if they are missing or not in this source's layout."""

    def known_classes(self) -> tuple[str, ...] | None:
        """Return the class names if no image must be read and nothing fetched to know them, else None.

        Raises SourceError as `open` for what can be seen so early.
        """
        return None

    def copied_bytes(self) -> int:
        """Return the size of the local files that reading copies from; 0 where none are known."""
        path = getattr(self, self.location) if self.location else None
        if not isinstance(path, Path):
            return 0
        if path.is_file():
            return path.stat().st_size
        return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())


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
