"""Reading of a source into an image table: every image is decoded once, and unreadable ones are quarantined."""

import io
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd
from PIL import Image

from glasshead.errors import ImageError, SourceError
from glasshead.images.decode import decode
from glasshead.images.sources.base import Refused
from glasshead.images.sources.params import IngestParams
from glasshead.images.table import ImageTable, Record
from glasshead.progress import reported

logger = logging.getLogger(__name__)

SHOWN = 3  # examples in a message


class Ingested(NamedTuple):
    """The result of reading a source.

    Attributes:
        images: the readable images.
        quarantine: columns file and reason, a row for each unreadable file or row of the source.
        planted: columns image_id, defect and detail, the ground truth of planted defects.
        counts: the numbers of images, quarantined, converted (not RGB) and animated ones, and of images by class and
            by given split.
    """

    images: ImageTable
    quarantine: pd.DataFrame
    planted: pd.DataFrame
    counts: dict[str, Any]


def read_source(params: IngestParams, seed: int) -> Ingested:
    """Read the source that `params` chooses; memory use stays constant.

    Raises SourceError if it is missing or empty, has fewer than two classes or repeated ids, or if the fraction of bad
    files is above `max_bad_fraction`.
    """
    source = params.chosen.open(seed)
    inspection = _Inspection()
    sound = inspection.sound(reported(source.records, "images read", source.total))
    images = ImageTable.from_records(sound, source.classes, source.attributes)
    _check_bad_fraction(len(images), inspection.refused, params)
    frame = images.frame()
    _check_content(images, frame, params.source)
    if inspection.animated:
        names = _summary(inspection.animated)
        logger.warning("%d images have several frames, of which the first is used: %s", *names)
    counts = inspection.counts() | {
        "source": params.source,
        "images": len(images),
        "classes": {name: int((frame["label"] == name).sum()) for name in images.classes},
        "given_splits": dict(Counter(frame["given_split"].fillna("none"))),
    }
    return Ingested(images, *inspection.tables(), counts)


@dataclass
class _Inspection:
    """Decodes each record once and yields the readable ones; collects refused files, defects and counts."""

    refused: list[Refused] = field(default_factory=list)
    planted: list[tuple[str, str, str]] = field(default_factory=list)
    animated: list[str] = field(default_factory=list)
    converted: int = 0

    def sound(self, records: Iterable[Record | Refused]) -> Iterator[Record]:
        for record in records:
            if isinstance(record, Refused):
                self.refused.append(record)
                continue
            image_id = record["image_id"]
            self.planted += [(image_id, defect, detail) for defect, detail in record["defects"]]
            try:
                decoded = decode(record["image"])
                _check_mask(record["mask"], decoded.size)
            except ImageError as error:
                self.refused.append(Refused(image_id, str(error)))
                continue
            self.converted += decoded.mode != "RGB"
            self.animated += [image_id] if decoded.animated else []
            yield record

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return quarantine and planted defects."""
        return (
            pd.DataFrame(self.refused, columns=["file", "reason"], dtype="str"),
            pd.DataFrame(self.planted, columns=["image_id", "defect", "detail"], dtype="str"),
        )

    def counts(self) -> dict[str, Any]:
        return {
            "quarantined": len(self.refused),
            "converted": self.converted,
            "animated": len(self.animated),
        }


def _check_mask(mask: bytes | None, size: tuple[int, int]) -> None:
    """Raise ImageError if a mask does not have the `size` of its image."""
    if mask is None:
        return
    with Image.open(io.BytesIO(mask), formats=["PNG"]) as opened:
        if opened.size != size:
            width, height = opened.size
            raise ImageError(
                f"its mask has {width} x {height} pixels, the image {size[0]} x {size[1]}"
            )


def _check_bad_fraction(sound: int, refused: list[Refused], params: IngestParams) -> None:
    total = sound + len(refused)
    if total == 0:
        raise SourceError(f"ingest.source {params.source} is empty: it has no images.")
    if len(refused) > params.max_bad_fraction * total:
        examples = "; ".join(f"{file!r}: {reason}" for file, reason in refused[:SHOWN])
        raise SourceError(
            f"{len(refused)} of {total} images ({100 * len(refused) / total:.3g} %) are unusable; "
            f"ingest.max_bad_fraction={params.max_bad_fraction:g} allows {100 * params.max_bad_fraction:g} %. The "
            f"first are {examples}. Repair or remove them, or raise ingest.max_bad_fraction; at 1 the run skips every "
            "unusable image and lists all of them in data/02_intermediate/quarantine.csv."
        )


def _check_content(images: ImageTable, frame: pd.DataFrame, source: str) -> None:
    if repeated := images.repeated_ids():
        raise SourceError(
            "{} image ids occur more than once: {}. Rename the files.".format(*_summary(repeated))
        )
    labels = sorted(set(frame["label"]))
    if len(labels) < 2:
        raise SourceError(
            f"ingest.source {source} has usable images of {len(labels)} class only "
            f"({', '.join(labels)}). A classifier needs two or more: add images of another class."
        )


def _summary(names: list[str]) -> tuple[int, str]:
    more = ", ..." if len(names) > SHOWN else ""
    return len(names), ", ".join(map(repr, names[:SHOWN])) + more
