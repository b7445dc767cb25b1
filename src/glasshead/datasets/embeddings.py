"""Kedro datasets for embeddings: one run's as a safetensors file, and the store that all runs share."""

import hashlib
import json
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from kedro.io import AbstractDataset, DatasetError
from safetensors.numpy import load, save

from glasshead.datasets.atomic import AtomicFile
from glasshead.embedding.store import Embeddings, EmbeddingStore, check_values


class EmbeddingsDataset(AtomicFile[Embeddings, Embeddings]):
    """`Embeddings` as one safetensors file: `values`, `described` (JSON as bytes) and the `sha256` of both.

    Raises EmbeddingError, naming images, where an embedding is not finite or zero, saved or loaded.
    """

    def _encode(self, content: Embeddings) -> bytes:
        check_values(content.values, content.image_id)
        described = {
            "encoder_key": content.encoder_key,
            "image_id": content.image_id.tolist(),
            "content_hash": content.content_hash.tolist(),
        }
        arrays = {
            "values": np.ascontiguousarray(content.values),
            "described": np.frombuffer(json.dumps(described).encode(), np.uint8),
        }
        return save(arrays | {"sha256": _digest(arrays)})

    def _decode(self, data: bytes) -> Embeddings:
        arrays = load(data)
        if not np.array_equal(arrays["sha256"], _digest(arrays)):
            raise ValueError("its SHA-256 is not the one it was written with")
        described = json.loads(arrays["described"].tobytes())
        image_id = np.array(described["image_id"], object)
        check_values(arrays["values"], image_id)
        hashes = np.array(described["content_hash"], object)
        return Embeddings(image_id, hashes, arrays["values"], described["encoder_key"])


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


def _digest(arrays: dict[str, np.ndarray]) -> np.ndarray:
    digest = hashlib.sha256(arrays["values"].data)
    digest.update(arrays["described"].data)
    return np.frombuffer(digest.digest(), np.uint8)
