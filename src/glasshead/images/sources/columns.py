"""Records from rows of Arrow batches in the Hugging Face image layout, for the sources `parquet` and `hub`."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from glasshead.errors import SourceError
from glasshead.images.sources.base import Refused, SourceParams, plain_record
from glasshead.images.table import Record


class ColumnsParams(SourceParams, frozen=True):
    """The names of the columns for images, labels and attributes; attributes become text that subtasks can read."""

    image_column: str = "image"
    label_column: str = "label"
    attribute_columns: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The names of all columns to read, in the order that `read_rows` expects."""
        return [self.image_column, self.label_column, *self.attribute_columns]


def check_columns(schema: pa.Schema, params: ColumnsParams, where: str) -> None:
    """Raise SourceError unless `schema` has encoded images, integer or text labels, and the attributes."""
    image, label = params.image_column, params.label_column
    if absent := [name for name in params.columns if name not in schema.names]:
        raise SourceError(
            f"{where} has no column {' and '.join(absent)}, only {', '.join(schema.names)}. "
            "Set image_column, label_column and attribute_columns of the source."
        )
    kind = schema.field(image).type
    if not _holds_images(kind):
        raise SourceError(
            f"{where}: column {image} holds {kind}, not encoded images (binary, or struct with bytes)."
        )
    kind = schema.field(label).type
    if not (pa.types.is_integer(kind) or _is_text(kind)):
        raise SourceError(f"{where}: column {label} holds {kind}, neither integers nor text.")


def class_names(schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    """Return the ClassLabel names that `datasets` wrote into the schema's metadata, or None."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(features[label]["names"])
    except (KeyError, TypeError, ValueError):
        return None


def distinct_labels(columns: Iterable[pa.Array]) -> tuple[str, ...]:
    """Return the labels that occur, as text: integers in their order, text in alphabetical order."""
    seen: set[int | str] = set()
    for column in columns:
        seen.update(value for value in column.unique().to_pylist() if value is not None)
    return tuple(map(str, sorted(seen, key=lambda label: (isinstance(label, str), label))))


def read_rows(
    batches: Iterable[pa.RecordBatch],
    split: str | None,
    classes: tuple[str, ...],
    coded: bool,
    attributes: tuple[str, ...] = (),
    read_path: Callable[[str], bytes | None] | None = None,
) -> Iterator[Record | Refused]:
    """Yield one record or refusal per row of batches with the columns image, label and `attributes`.

    If `coded`, integer labels are positions in `classes`, else class names. `read_path` reads images that are given
    only by path; without `read_path`, such images are refused.
    """
    position = 0
    for batch in batches:
        columns = [column.to_pylist() for column in batch.columns]
        for image, label, *values in zip(*columns, strict=True):
            image_id = f"{split or 'all'}/{position:06d}"
            position += 1
            name = _name(label, classes, coded)
            data = _bytes(image, read_path)
            if name is None:
                yield Refused(image_id, f"label {label!r} is not a class")
            elif data is None:
                yield Refused(image_id, "no image bytes")
            else:
                known = {
                    attribute: str(value)
                    for attribute, value in zip(attributes, values, strict=True)
                    if value is not None and str(value)  # empty text is no value
                }
                yield plain_record(image_id, data, name, split, known)


def read_local(path: str) -> bytes | None:
    """Return the bytes of a file that `datasets` fetched, or None if it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError:
        return None


def _name(label: int | str | None, classes: tuple[str, ...], coded: bool) -> str | None:
    if coded and isinstance(label, int):
        return classes[label] if 0 <= label < len(classes) else None
    return str(label) if str(label) in classes else None


def _bytes(image: Any, read_path: Callable[[str], bytes | None] | None) -> bytes | None:
    data, path = (image["bytes"], image.get("path")) if isinstance(image, dict) else (image, None)
    if data is None and path and read_path:
        return read_path(path)
    return None if data is None else bytes(data)


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_images(kind.field("bytes").type)
    return kind in (pa.binary(), pa.large_binary(), pa.binary_view())


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return kind in (pa.string(), pa.large_string(), pa.string_view())
