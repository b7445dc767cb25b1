"""The image table: encoded images, labels and hashes in one memory-mapped Arrow file, read row by row."""

import hashlib
import io
import json
import mmap
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypedDict

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from glasshead.errors import ArtifactError
from glasshead.images.decode import decode_rgb

COLUMNS = {
    "image_id": pa.string(),  # unique and stable across runs: "<split>/<position>" or the relative path
    "image": pa.binary(),  # encoded bytes, as the source gave them
    "label": pa.string(),  # class name
    "given_split": pa.string(),  # "train", "validation", "test" or null
    "content_hash": pa.string(),  # SHA-256 of `image`, hex
    "mask": pa.binary(),  # PNG, 8-bit grey, 0 or 255; or null
}
ATTRIBUTE = "attribute/"
BATCH_ROWS, BATCH_BYTES = 1024, 2**24


class Record(TypedDict):
    """One image as a source gives it to the table; `defects` lists planted defects as (defect, detail)."""

    image_id: str
    image: bytes
    label: str
    given_split: str | None
    mask: bytes | None
    attributes: dict[str, str]
    defects: list[tuple[str, str]]


class ImageTable:
    """An immutable table of images. The images' bytes stay on disk until a row is read."""

    def __init__(self, table: pa.Table, mapped: mmap.mmap) -> None:
        """Wrap `table`, which reads from `mapped`; ArtifactError if columns are missing or have other types."""
        schema = table.schema
        held = {name: schema.field(name).type for name in schema.names}
        missing = [name for name, kind in COLUMNS.items() if held.get(name) != kind]
        if missing or b"classes" not in (schema.metadata or {}):
            raise ArtifactError(
                f"not an image table: wrong or missing {', '.join(missing) or 'class names'}"
            )
        self._table, self._mapped = table, mapped
        self._images, self._hashes = table["image"], table["content_hash"]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # a table is immutable

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map the file at `path`; ArtifactError if it is missing or damaged."""
        try:
            with path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            reader = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapped)))
            for index in range(reader.num_record_batches):
                reader.get_batch(index).validate(full=True)
                mapped.madvise(mmap.MADV_DONTNEED)  # or the whole file would be in memory at once
            return cls(reader.read_all(), mapped)
        except (pa.ArrowException, OSError, ValueError, ArtifactError) as error:
            raise ArtifactError(
                f"{path} is not a complete image table ({error}). Delete it and run `kedro run --pipelines=ingest`."
            ) from error

    @classmethod
    def from_records(
        cls, records: Iterable[Record], classes: Sequence[str], attributes: Sequence[str] = ()
    ) -> Self:
        """Return a table of `records`, streamed through a temporary file, so that memory use stays constant.

        The file is as large as all encoded images, lies in the system's temporary folder (TMPDIR), and lives as long
        as the table. `classes` are the class names in index order. Raises ArtifactError if it cannot be written.
        """
        columns = COLUMNS | {ATTRIBUTE + name: pa.string() for name in attributes}
        schema = pa.schema(list(columns.items()), metadata={"classes": json.dumps(list(classes))})
        with tempfile.NamedTemporaryFile(suffix=".arrow") as spool:
            try:
                write_batches(_batches(records, schema), schema, Path(spool.name))
            except OSError as error:
                raise ArtifactError(
                    f"The images cannot be gathered in {spool.name}: {error}. Set TMPDIR to a folder with room for "
                    "all encoded images."
                ) from error
            return cls.open(Path(spool.name))  # the memory map outlives the file's name

    def write(self, path: Path) -> None:
        """Stream the table into a new Arrow file at `path`."""
        write_batches(self._table.to_batches(), self._table.schema, path)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in index order."""
        return tuple(json.loads(self._table.schema.metadata[b"classes"]))

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def frame(self) -> pd.DataFrame:
        """Return all columns but the bytes of images and masks, in row order."""
        return self._table.drop_columns(["image", "mask"]).to_pandas()

    def ids(self) -> pd.Series:
        """Return the image ids in row order."""
        return self._table["image_id"].to_pandas()

    def label(self, row: int) -> str:
        """Return the class name of `row`."""
        return self._table["label"][row].as_py()

    def hashes(self) -> np.ndarray:
        """Return the content hashes in row order as bytes (n, 32)."""
        hashes = np.empty((len(self), 32), np.uint8)
        start = 0
        for chunk in self._table["content_hash"].chunks:
            stop = start + len(chunk)
            text = bytes.fromhex("".join(chunk.to_pylist()))
            hashes[start:stop] = np.frombuffer(text, np.uint8).reshape(-1, 32)
            self.release()  # otherwise the whole column of a large table would stay in memory
            start = stop
        return hashes

    def encoded(self, row: int) -> bytes:
        """Return the encoded bytes of `row`; ArtifactError if they have changed since they were written."""
        data: bytes = self._images[row].as_py()
        if content_hash(data) != self._hashes[row].as_py():
            name = self._table["image_id"][row].as_py()
            raise ArtifactError(
                f"Image {name} in the image table is damaged. Run `kedro run --pipelines=ingest`."
            )
        return data

    def pil(self, row: int) -> Image.Image:
        """Return the image of `row` as RGB."""
        return decode_rgb(self.encoded(row))

    def mask(self, row: int) -> np.ndarray | None:
        """Return the object's mask (h, w) as booleans, or None where no mask is known."""
        data = self._table["mask"][row].as_py()
        if data is None:
            return None
        return np.asarray(Image.open(io.BytesIO(data), formats=["PNG"])) > 127

    def release(self) -> None:
        """Release the memory of the rows that were read; reading them again loads them from the file."""
        self._mapped.madvise(mmap.MADV_DONTNEED)

    def digest(self) -> str:
        """Return a SHA-256 over image_id, label and content_hash of all rows, in order."""
        columns = [self._table[name].to_pylist() for name in ("image_id", "label", "content_hash")]
        total = hashlib.sha256()
        for row in zip(*columns, strict=True):
            total.update(json.dumps(row).encode())
        return total.hexdigest()

    def check_rows(self, samples: pd.DataFrame) -> None:
        """Raise ArtifactError unless `samples` have the ids, labels and contents of these images, in order."""
        identity = ["image_id", "label", "content_hash"]
        rows = self.frame()[identity].to_numpy(object)
        if not np.array_equal(samples[identity].to_numpy(object), rows):
            raise ArtifactError(
                "The samples do not match the image table. Run `kedro run --pipelines=preprocess`."
            )

    def repeated_ids(self) -> list[str]:
        """Return the image ids that more than one row has."""
        ids = self.ids()
        return ids[ids.duplicated()].unique().tolist()


def check_predictions(images: ImageTable, samples: pd.DataFrame, predictions: pd.DataFrame) -> None:
    """Raise ArtifactError unless `predictions` belong to `samples`, and `samples` to `images`."""
    images.check_rows(samples)
    identity = ["image_id", "split", "label"]
    if not predictions[identity].equals(samples[identity]):
        raise ArtifactError(
            "The predictions do not match the samples: the preprocess pipeline has run since they were made. Run the "
            "classifier's pipeline, such as `kedro run --pipelines=heads`."
        )


def content_hash(data: bytes) -> str:
    """Return the SHA-256 of encoded bytes, in hex: it does not depend on any decoder."""
    return hashlib.sha256(data).hexdigest()


def write_batches(batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path) -> None:
    """Write `batches` one by one as an Arrow file at `path`."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _batches(records: Iterable[Record], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield batches limited in rows and in bytes, so that large photographs do not fill the memory."""
    rows: list[dict[str, Any]] = []
    size = 0
    for record in records:
        rows.append(_row(record))
        size += len(record["image"])
        if len(rows) == BATCH_ROWS or size >= BATCH_BYTES:
            yield pa.RecordBatch.from_pylist(rows, schema=schema)
            rows, size = [], 0
    if rows:
        yield pa.RecordBatch.from_pylist(rows, schema=schema)


def _row(record: Record) -> dict[str, Any]:
    known: Mapping[str, Any] = record
    row = {name: known[name] for name in COLUMNS if name != "content_hash"}
    row["content_hash"] = content_hash(record["image"])
    return row | {ATTRIBUTE + name: value for name, value in record["attributes"].items()}
