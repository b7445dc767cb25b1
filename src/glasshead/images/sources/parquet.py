"""`parquet`: files in the Hugging Face image layout, local or at an fsspec address, read in batches."""

import logging
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from itertools import chain
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from glasshead.errors import SourceError
from glasshead.images.sources.base import Source
from glasshead.images.sources.class_folders import SPLIT_NAMES
from glasshead.images.sources.columns import (
    ColumnsParams,
    check_columns,
    class_names,
    distinct_labels,
    read_rows,
)
from glasshead.images.sources.remote import Location, Remote, reaching

logger = logging.getLogger(__name__)

ROWS = 256  # rows of a batch; all images of a batch are in memory


class ParquetParams(ColumnsParams, frozen=True):
    """`path`: a folder with train.parquet (or shards train-*.parquet), perhaps validation and test too, or one file.

    `path` is local or an fsspec address, such as s3://bucket/folder. The image column holds `struct<bytes, path>` or
    binary. The label column holds text, or integers whose names are ClassLabel names in the file's metadata.
    """

    location: ClassVar[str] = "path"

    path: Location | None = None

    def open(self, seed: int) -> Source:
        """Return the rows of the files in order; SourceError if they are missing or have another layout."""
        splits = _open(self.path)
        names = _class_names(splits, self)
        labels = _batches(chain.from_iterable(splits.values()), [self.label_column])
        classes = names or distinct_labels(batch.column(0) for batch in labels)
        coded, attributes = names is not None, self.attribute_columns
        rows = (
            read_rows(_batches(files, self.columns), split, classes, coded, attributes)
            for split, files in splits.items()
        )
        total = sum(file.metadata.num_rows for file in chain.from_iterable(splits.values()))
        return Source(classes, chain.from_iterable(rows), attributes, total)

    def known_classes(self) -> tuple[str, ...] | None:
        """Return the names in the metadata of local files, None where there are none."""
        return None if isinstance(self.path, str) else _class_names(_open(self.path), self)


def _class_names(
    splits: dict[str | None, list[pq.ParquetFile]], params: ParquetParams
) -> tuple[str, ...] | None:
    """Check the columns of every file and return the class names that all agree on, or None."""
    names = set()
    for split, files in splits.items():
        for file in files:
            check_columns(
                file.schema_arrow, params, f"a {split or 'parquet'} file of {params.path}"
            )
            names.add(class_names(file.schema_arrow, params.label_column))
    if len(names) > 1:
        raise SourceError(
            f"The files of {params.path} name different classes. Write all with the same class names."
        )
    return names.pop()


def _open(path: str | Path | None) -> dict[str | None, list[pq.ParquetFile]]:
    """Return the opened files by given split; a single file has no split."""
    if isinstance(path, str):
        remote = Remote.connect(path)
        open_file = partial(_open_remote, remote)
        names = None if remote.is_file() else remote.names()
    elif path is not None and path.exists():
        open_file = partial(_open_local, path)
        names = None if path.is_file() else [file.name for file in path.iterdir()]
    else:
        raise SourceError(f"ingest.parquet.path: {path} does not exist. Correct the path.")
    if names is None:
        return {None: [open_file("")]}
    return {
        split: [open_file(name) for name in chosen]
        for split, chosen in _splits(names, path).items()
    }


def _splits(names: list[str], where: str | Path) -> dict[str | None, list[str]]:
    """Return the names of the files of each split."""
    files_of: dict[str | None, list[str]] = {
        split: sorted(
            name
            for name in names
            for alias in aliases
            if name == f"{alias}.parquet" or fnmatchcase(name, f"{alias}-*.parquet")
        )
        for split, aliases in SPLIT_NAMES.items()
    }
    if not files_of["train"]:
        raise SourceError(
            f"ingest.parquet.path: {where} has no train.parquet. Name the folder that has it, or one file."
        )
    chosen = {split: files for split, files in files_of.items() if files}
    parquet = {name for name in names if name.endswith(".parquet")}
    if ignored := sorted(parquet - set(chain.from_iterable(chosen.values()))):
        logger.warning(
            "Only the train, validation and test splits are read, not %s", ", ".join(ignored)
        )
    return chosen


def _open_local(folder: Path, name: str) -> pq.ParquetFile:
    path = folder / name
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} cannot be read as parquet: {error}") from error


def _open_remote(remote: Remote, name: str) -> pq.ParquetFile:
    path = remote.path(name)
    with reaching(f"{remote.address} ({path})"):
        return pq.ParquetFile(remote.system.open(path, "rb"))


def _batches(files: Iterable[pq.ParquetFile], columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield batches with `columns` in this order; the files' own order may differ."""
    for file in files:
        try:
            for batch in file.iter_batches(batch_size=ROWS, columns=columns):
                yield batch.select(columns)
        except Exception as error:  # storage systems' errors have no common base
            raise SourceError(
                f"A parquet file is damaged or cannot be reached: {error}. Fetch it again."
            ) from error
