"""`hub`: a data set of the Hugging Face hub, or a local folder of the same format, through `datasets`."""

import logging
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from glasshead.errors import SourceError
from glasshead.images.sources.base import Source
from glasshead.images.sources.class_folders import SPLIT_NAMES
from glasshead.images.sources.columns import (
    ColumnsParams,
    check_columns,
    distinct_labels,
    read_local,
    read_rows,
)

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

AUTO = "auto"
ROWS = 256  # rows of a batch; all images of a batch are in memory


class HubParams(ColumnsParams, frozen=True):
    """`id` is owner/name or a folder, as in `datasets.load_dataset`; a commit as `revision` pins the data.

    `validation_split` auto is the split named validation, valid, val or dev, if there is one.
    """

    location: ClassVar[str] = "id"

    id: str | None = None
    revision: str | None = None
    config: str | None = None
    train_split: str = "train"
    validation_split: str | None = AUTO
    test_split: str | None = "test"

    def open(self, seed: int) -> Source:
        """Return the rows of the data set's splits in order; SourceError if it cannot be loaded."""
        import datasets

        splits = _load(self)
        for name, data in splits.items():
            check_columns(data.features.arrow_schema, self, f"{self.id} ({name})")
        feature = splits["train"].features[self.label_column]
        coded = isinstance(feature, datasets.ClassLabel)
        classes = tuple(feature.names) if coded else _distinct(splits, self.label_column)
        attributes = self.attribute_columns
        rows = (
            read_rows(_batches(data, self.columns), name, classes, coded, attributes, read_local)
            for name, data in splits.items()
        )
        total = sum(map(len, splits.values()))
        return Source(classes, chain.from_iterable(rows), self.attribute_columns, total)


def _distinct(splits: dict[str, "Dataset"], label_column: str) -> tuple[str, ...]:
    batches = chain.from_iterable(_batches(data, [label_column]) for data in splits.values())
    return distinct_labels(batch.column(0) for batch in batches)


def _load(params: HubParams) -> dict[str, "Dataset"]:
    import datasets

    try:
        loaded = datasets.load_dataset(params.id, params.config, revision=params.revision)
    except Exception as error:  # its errors have no common base
        raise SourceError(
            f"ingest.hub.id: {params.id} (revision {params.revision}) cannot be loaded: {error}. Without a network, "
            "set ingest.hub.id to a folder with the data set's files, or HF_HOME to a cache that holds it; "
            "HF_HUB_OFFLINE=1 skips the attempts to reach the hub."
        ) from error
    validation = params.validation_split
    if validation == AUTO:
        free = set(loaded) - {params.train_split, params.test_split}
        validation = next((name for name in SPLIT_NAMES["validation"] if name in free), None)
    named = {"train": params.train_split, "validation": validation, "test": params.test_split}
    wanted = {split: name for split, name in named.items() if name}
    if len(set(wanted.values())) < len(wanted):
        raise SourceError(
            f"ingest.hub: {', '.join(f'{split}_split is {name}' for split, name in wanted.items())}. Name each split "
            "of the data set once, or set those that it lacks to null."
        )
    if absent := [name for name in wanted.values() if name not in loaded]:
        raise SourceError(
            f"{params.id} has no split {' and '.join(absent)}, only {', '.join(loaded)}. Set ingest.hub.train_split, "
            "ingest.hub.validation_split and ingest.hub.test_split; null splits these rows off train."
        )
    if ignored := set(loaded) - set(wanted.values()):
        logger.warning("%s: the splits %s are not read", params.id, ", ".join(sorted(ignored)))
    return {split: _undecoded(loaded[name], params.image_column) for split, name in wanted.items()}


def _undecoded(rows: "Dataset", image_column: str) -> "Dataset":
    import datasets

    if isinstance(rows.features.get(image_column), datasets.Image):
        rows = rows.cast_column(image_column, datasets.Image(decode=False))
    return rows.with_format("arrow")


def _batches(rows: "Dataset", columns: list[str]) -> chain[pa.RecordBatch]:
    selected = rows.select_columns(columns)
    return chain.from_iterable(table.select(columns).to_batches() for table in selected.iter(ROWS))
