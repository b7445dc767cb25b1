"""What a user knows of the images in a folder beside their classes: attributes in a CSV, masks in a second folder."""

import csv
import io
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from glasshead.errors import ImageError, SourceError
from glasshead.images.decode import check_pixels
from glasshead.images.sources.base import Refused, Source
from glasshead.images.table import Record

logger = logging.getLogger(__name__)

FILE_NAME = "file_name"  # as in the metadata.csv of Hugging Face's image folders
SHOWN = 3  # names in a message


@dataclass(frozen=True)
class Annotations:
    """The attributes of images by name, and the folder of masks.

    Attributes:
        columns: the names of the attributes.
        values: for each image that the CSV names, its attributes that are not empty.
        masks: holds a PNG for each image, whose path is the image's own with the suffix .png; None: no masks.
    """

    columns: tuple[str, ...]
    values: Mapping[str, dict[str, str]]
    masks: Path | None

    @classmethod
    def read(cls, attributes: Path | None, masks: Path | None) -> "Annotations":
        """Read the CSV `attributes` if it is given; SourceError if a file or folder is missing or cannot be used."""
        if masks is not None and not masks.is_dir():
            raise SourceError(
                f"ingest.image_folder.masks: {masks} is not a folder. Set it to the folder of the masks."
            )
        if attributes is None:
            return cls((), {}, masks)
        where = f"ingest.image_folder.attributes: {attributes}"
        try:
            with attributes.open(encoding="utf-8-sig", newline="") as file:
                header, *rows = [row for row in csv.reader(file, strict=True) if row] or [[]]
        except (OSError, UnicodeError, csv.Error) as error:
            raise SourceError(f"{where} cannot be read as CSV in UTF-8: {error}.") from error
        columns = tuple(name for name in header if name != FILE_NAME)
        if FILE_NAME not in header or len(set(header)) < len(header) or not all(columns):
            raise SourceError(
                f"{where} has the columns {', '.join(map(repr, header)) or 'none'}. It needs {FILE_NAME}, the path of "
                "an image relative to the folder, and distinct names for the others."
            )
        values: dict[str, dict[str, str]] = {}
        for number, row in enumerate(rows, start=2):
            if len(row) != len(header):
                raise SourceError(
                    f"{where}, row {number}: {len(row)} fields, but the first row has {len(header)}. Quote fields "
                    "that contain commas."
                )
            named = dict(zip(header, row, strict=True))
            name = named.pop(FILE_NAME)
            if name in values:
                raise SourceError(f"{where}, row {number}: {name!r} has a row already. Remove one.")
            values[name] = {column: value for column, value in named.items() if value}
        return cls(columns, values, masks)

    def add_to(self, source: Source) -> Source:
        """Return `source` with these annotations; a record whose mask cannot be used is refused."""
        return replace(source, records=self._records(source.records), attributes=self.columns)

    def _records(self, records: Iterable[Record | Refused]) -> Iterator[Record | Refused]:
        unseen, bare, unmasked = set(self.values), 0, 0
        for record in records:
            if isinstance(record, Refused):
                unseen.discard(record.file)
                yield record
                continue
            name = record["image_id"]
            unseen.discard(name)
            bare += name not in self.values
            try:
                mask = None if self.masks is None else read_mask(self.masks, name)
            except ImageError as error:
                yield Refused(name, f"its mask {error}")
                continue
            unmasked += mask is None
            yield record | {"attributes": self.values.get(name, {}), "mask": mask}
        self._report(sorted(unseen), bare, unmasked)

    def _report(self, unseen: list[str], bare: int, unmasked: int) -> None:
        if self.columns and unseen:
            names = ", ".join(map(repr, unseen[:SHOWN])) + (", ..." if len(unseen) > SHOWN else "")
            if len(unseen) == len(self.values):
                raise SourceError(
                    f"ingest.image_folder.attributes: none of its rows names an image of the folder. The first are "
                    f"{names}. Write paths relative to the folder, such as train/cat/1.jpg."
                )
            logger.warning("%d rows of attributes name no image: %s", len(unseen), names)
        if self.columns and bare:
            logger.warning("%d images have no row of attributes", bare)
        if self.masks and unmasked:
            logger.warning("%d images have no mask in %s", unmasked, self.masks)


def read_mask(folder: Path, name: str) -> bytes | None:
    """Return the mask of the image `name` as a grey PNG of 0 and 255, or None if there is none.

    Every pixel that is not black, or not of palette index 0, is the object. Raises ImageError if the file cannot be
    read.
    """
    path = folder / PurePosixPath(name).with_suffix(".png")
    if not path.is_file():
        return None
    try:
        with Image.open(path, formats=["PNG"]) as image:
            check_pixels(image)
            with_alpha = {"RGBA": "RGB", "LA": "L"}.get(image.mode)  # whose alpha says nothing
            values = np.asarray(image.convert(with_alpha) if with_alpha else image)
    except ImageError:
        raise
    except Exception as error:  # decoders raise almost anything on damaged bytes
        raise ImageError(f"cannot be read: {error}") from error
    inside = values.reshape(*values.shape[:2], -1).any(axis=2)
    buffer = io.BytesIO()
    Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
