"""Kedro datasets for embeddings: those of one run, and the store that all runs share."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from glasshead.datasets.atomic import AtomicFile
from glasshead.datasets.paths import StoreDataset
from glasshead.embedding.store import Embeddings, EmbeddingStore, StoredRows
from glasshead.errors import EmbeddingError


class EmbeddingsDataset(AtomicFile[Embeddings, Embeddings]):
    """The `Embeddings` of an image table, as a parquet file that refers to the store in `store["filepath"]`.

    The file holds ids, content hashes and keys. The values stay in the store's shards, which loading maps into memory.
    Saving and loading raise EmbeddingError if the store lacks any of these values.
    """

    def __init__(
        self, *, filepath: str, store: dict[str, str], metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self._store = Path(store["filepath"])

    def _encode(self, content: Embeddings) -> bytes:
        self._find(content.image_id, content.hashes, content.store_key)
        n = len(content)
        columns = {
            "image_id": pa.array(content.image_id, pa.string()),
            "content_hash": pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(32), n, [None, pa.py_buffer(np.ascontiguousarray(content.hashes))]
            ),
            # Columns, unlike metadata, are covered by the pages' checksums.
            "encoder_key": pa.repeat(content.encoder_key, n),
            "store_key": pa.repeat(content.store_key, n),
        }
        sink = io.BytesIO()
        pq.write_table(pa.table(columns), sink, write_page_checksum=True)
        return sink.getvalue()

    def _decode(self, data: bytes) -> Embeddings:
        table = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
        image_id = table["image_id"].to_pandas()
        hashes = np.frombuffer(b"".join(table["content_hash"].to_pylist()), np.uint8)
        hashes = hashes.reshape(-1, 32)
        encoder_key, store_key = (table[name][0].as_py() for name in ("encoder_key", "store_key"))
        rows = self._find(image_id, hashes, store_key)
        return Embeddings(image_id, hashes, rows, encoder_key, store_key)

    def _find(self, image_id: pd.Series | np.ndarray, hashes: np.ndarray, key: str) -> StoredRows:
        rows = EmbeddingStore(self._store).rows(key, hashes)
        if not rows.found.all():
            absent = list(image_id[~rows.found])
            raise EmbeddingError(
                f"{len(absent)} of {len(rows)} embeddings are not in the store {self._store}: "
                f"{', '.join(absent[:5])}. Run `kedro run --pipelines=embed`."
            )
        return rows


class EmbeddingStoreDataset(StoreDataset[EmbeddingStore]):
    """The embedding store in the folder `filepath`; the engines write it shard by shard."""

    def load(self) -> EmbeddingStore:
        """Return the store; nothing is read or created yet."""
        return EmbeddingStore(self._filepath)

    def parts(self) -> frozenset[str]:
        """Return the names of the shards: a store only grows, and values do not depend on what else it holds."""
        files = self._filepath.rglob("*")
        return frozenset(
            file.relative_to(self._filepath).as_posix() for file in files if file.is_file()
        )
