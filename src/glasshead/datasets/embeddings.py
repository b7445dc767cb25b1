"""Kedro datasets for embeddings: which are one run's, and the store that all runs share."""

import io
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from kedro.io import AbstractDataset, DatasetError

from glasshead.datasets.atomic import AtomicFile
from glasshead.embedding.store import Embeddings, EmbeddingStore, StoredRows, as_hashes
from glasshead.errors import EmbeddingError

COLUMNS = ("image_id", "content_hash")


class EmbeddingsDataset(AtomicFile[Embeddings, Embeddings]):
    """Which rows of the store in the folder `store["filepath"]` are an image table's `Embeddings`; as parquet.

    It holds ids, content hashes and the keys; the values stay in the store's shards, memory-mapped where loaded.
    Raises EmbeddingError where the store lacks any of them, saved or loaded.
    """

    def __init__(
        self, *, filepath: str, store: dict[str, str], metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self._store = Path(store["filepath"])

    def _encode(self, content: Embeddings) -> bytes:
        self._find(content.image_id, content.content_hash, content.store_key)
        keys = {"encoder_key": content.encoder_key, "store_key": content.store_key}
        columns = {name: pa.array(getattr(content, name), pa.string()) for name in COLUMNS}
        # As columns, unlike metadata, they are under the pages' checksums.
        columns |= {name: pa.repeat(key, len(content)) for name, key in keys.items()}
        sink = io.BytesIO()
        pq.write_table(pa.table(columns), sink, write_page_checksum=True)
        return sink.getvalue()

    def _decode(self, data: bytes) -> Embeddings:
        table = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
        image_id, content_hash = (table[name].to_numpy(zero_copy_only=False) for name in COLUMNS)
        encoder_key, store_key = (table[name][0].as_py() for name in ("encoder_key", "store_key"))
        rows = self._find(image_id, content_hash, store_key)
        return Embeddings(image_id, content_hash, rows, encoder_key, store_key)

    def _find(self, image_id: np.ndarray, content_hash: np.ndarray, key: str) -> StoredRows:
        rows = EmbeddingStore(self._store).rows(key, as_hashes(content_hash))
        if not rows.found.all():
            absent = image_id[~rows.found]
            raise EmbeddingError(
                f"{len(absent)} of {len(rows)} embeddings are not in the store {self._store}: "
                f"{', '.join(absent[:5])}. Run the embed pipeline again."
            )
        return rows


class EmbeddingStoreDataset(AbstractDataset[Any, EmbeddingStore]):
    """Hands out the embedding store in the folder `filepath`; the engines write to it shard by shard."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> EmbeddingStore:
        """Return the store; nothing is read or created yet."""
        return EmbeddingStore(self._filepath)

    def save(self, data: Any) -> NoReturn:
        """Raise DatasetError: nothing but the embedding engines writes to the store."""
        raise DatasetError(
            f"The embedding store {self._filepath} is written by `embed`, not saved."
        )

    def _exists(self) -> bool:
        return self._filepath.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
