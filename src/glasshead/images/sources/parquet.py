"""`parquet`: files in the Hugging Face image layout, read in batches."""

import logging
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from glasshead.errors import SourceError
from glasshead.images.sources.base import Source
from glasshead.images.sources.columns import check_columns, class_names, distinct_labels, read_rows

logger = logging.getLogger(__name__)

ROWS = 256  # a batch's images stand in memory at once


class ParquetParams(BaseModel, extra="forbid", frozen=True):
    """`path`: a folder with train.parquet and perhaps test.parquet (or shards train-*.parquet), or one file.

    The image column holds `struct<bytes, path>` or binary; the label column text, or integers whose names are
    ClassLabel names in the file's metadata. `attribute_columns` are kept as text, for subtasks to read.
    """

    path: Path | None = None
    image_column: str = "image"
    label_column: str = "label"
    attribute_columns: tuple[str, ...] = ()


def open_parquet(params: ParquetParams) -> Source:
    """Return the rows of the files in order; raises SourceError where they are missing or have another layout."""
    splits = {
        split: [_open(file) for file in files] for split, files in _files(params.path).items()
    }
    names = _class_names(splits, params)
    labels = _batches(chain.from_iterable(splits.values()), [params.label_column])
    classes = names or distinct_labels(batch.column(0) for batch in labels)
    wanted = [params.image_column, params.label_column, *params.attribute_columns]
    rows = (
        read_rows(
            _batches(files, wanted), split, classes, names is not None, params.attribute_columns
        )
        for split, files in splits.items()
    )
    return Source(classes, chain.from_iterable(rows), params.attribute_columns)


def _class_names(
    splits: dict[str | None, list[pq.ParquetFile]], params: ParquetParams
) -> tuple[str, ...] | None:
    """Check the columns of every file and return the class names that all agree on, or None."""
    found = set()
    for split, files in splits.items():
        for file in files:
            where = f"a {split or 'parquet'} file of {params.path}"
            check_columns(
                file.schema_arrow,
                params.image_column,
                params.label_column,
                params.attribute_columns,
                where,
            )
            found.add(class_names(file.schema_arrow, params.label_column))
    if len(found) > 1:
        raise SourceError(f"the files of {params.path} name different classes: write them alike.")
    return found.pop()


def _files(path: Path | None) -> dict[str | None, list[Path]]:
    """Return the files of each given split; one file has none."""
    if path is None or not path.exists():
        raise SourceError(f"ingest.parquet.path: {path} does not exist.")
    if path.is_file():
        return {None: [path]}
    found: dict[str | None, list[Path]] = {
        split: sorted([*path.glob(f"{split}.parquet"), *path.glob(f"{split}-*.parquet")])
        for split in ("train", "test")
    }
    if not found["train"]:
        raise SourceError(
            f"ingest.parquet.path: {path} has no train.parquet. Name its folder or one file."
        )
    chosen = {split: files for split, files in found.items() if files}
    if ignored := sorted(set(path.glob("*.parquet")) - set(chain.from_iterable(chosen.values()))):
        logger.warning(
            "Not read, as only train and test splits are: %s", ", ".join(f.name for f in ignored)
        )
    return chosen


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} cannot be read as parquet: {error}") from error


def _batches(files: Iterable[pq.ParquetFile], columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield batches with `columns` in this order; the files' own order may differ."""
    for file in files:
        try:
            for batch in file.iter_batches(batch_size=ROWS, columns=columns):
                yield batch.select(columns)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"a parquet file is damaged: {error}. Fetch it again.") from error
