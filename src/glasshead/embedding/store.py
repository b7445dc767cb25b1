"""The embedding cache: content hash of an image → its embedding, one folder of safetensors shards per encoder key.

    <root>/<encoder key>/manifest.json          per shard: file, sha256, rows, shape, dtype
    <root>/<encoder key>/<sha256>.safetensors   hashes (r, 32) uint8 and values (r, d) float32

A shard is complete before the manifest names it, and readers trust only the manifest. A shard's name is the SHA-256
of its bytes, so one that a killed run or a race between two runs left out of the manifest is listed later, not lost.
"""

import hashlib
import json
import logging
import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from glasshead.errors import ArtifactError, EmbeddingError
from glasshead.files import write_atomically

logger = logging.getLogger(__name__)

_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Embeddings:
    """Projected embeddings of an image table, row by row; their L2 norm is the encoder's, not 1.

    Attributes:
        image_id: (n,) object array of str, the table's ids in the table's order.
        content_hash: (n,) object array of str, the SHA-256 of each image's encoded bytes as hex.
        values: (n, d) float32, finite, no row of norm 0.
        encoder_key: the key of the encoder that made them.
    """

    image_id: np.ndarray
    content_hash: np.ndarray
    values: Float32[np.ndarray, "n d"]
    encoder_key: str

    def __len__(self) -> int:
        return len(self.image_id)

    def of(
        self, content_hash: Sequence[str] | pd.Series, encoder_key: str
    ) -> Float32[np.ndarray, "m d"]:
        """Return the embeddings of the images with these contents, made by the encoder with this key.

        Raises ArtifactError where another encoder made them, or a content is not among them.
        """
        if encoder_key != self.encoder_key:
            raise ArtifactError(
                f"The embeddings are another encoder's (key {self.encoder_key[:12]}… instead of {encoder_key[:12]}…). "
                "Run the embed pipeline again with this backbone."
            )
        _, first = np.unique(self.content_hash.astype(str), return_index=True)
        known = pd.Index(self.content_hash[first])
        rows = known.get_indexer(pd.Index(content_hash))
        if (rows < 0).any():
            raise ArtifactError(
                f"{(rows < 0).sum()} of {len(rows)} images have no embedding: they are not those that were embedded. "
                "Run the embed pipeline again."
            )
        found: np.ndarray = self.values[first[rows]]
        return found


@dataclass(frozen=True)
class Shard:
    """One row of the manifest; `shape` and `dtype` are those of the shard's values."""

    file: str
    sha256: str
    rows: int
    shape: list[int]
    dtype: str

    def __post_init__(self) -> None:
        names_itself = self.file == f"{self.sha256}.safetensors"
        if not names_itself or not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"{self.file!r} is not the name of a shard")


def check_values(values: Float32[np.ndarray, "n d"], image_id: Sequence[str] | np.ndarray) -> None:
    """Raise EmbeddingError naming the first five images whose embedding is NaN, infinite or of norm 0."""
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1) | ~values.any(axis=1))
    if len(bad):
        names = ", ".join(str(image_id[row]) for row in bad[:5])
        raise EmbeddingError(
            f"{len(bad)} of {len(values)} embeddings are NaN, infinite or zero: {names}"
            f"{', …' if len(bad) > 5 else ''}. Check the backbone's weights and these images."
        )


class EmbeddingStore:
    """Reads and appends embeddings by content hash; the module describes the files.

    Images are named by `image_id` in errors, by their content hash where none is given.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: set[Path] = set()

    def read(
        self,
        key: str,
        hashes: UInt8[np.ndarray, "n 32"],
        dimension: int,
        image_id: Sequence[str] | np.ndarray | None = None,
    ) -> tuple[Float32[np.ndarray, "n d"], Bool[np.ndarray, " n"]]:
        """Return the embeddings of `hashes`, zeros where missing, and which of them were found.

        Each shard's SHA-256 is verified on first touch; a damaged one is reported and its rows count as missing.
        Raises EmbeddingError if a stored embedding is not finite or zero, or the store cannot be read.
        """
        wanted, inverse = np.unique(as_keys(hashes), return_inverse=True)
        values = np.zeros((len(wanted), dimension), np.float32)
        found = np.zeros(len(wanted), bool)
        for shard in self._shards(key) if len(wanted) else []:
            stored = self._load(self.root / key / shard.file)
            if stored is None:
                continue
            keys = as_keys(stored["hashes"])
            places = np.searchsorted(wanted, keys).clip(max=len(wanted) - 1)
            hits = wanted[places] == keys
            values[places[hits]] = stored["values"][hits]
            found[places[hits]] = True
        values, found = values[inverse], found[inverse]
        check_values(values[found], _names(hashes, image_id)[found])
        return values, found

    def append(
        self,
        key: str,
        hashes: UInt8[np.ndarray, "n 32"],
        values: Float32[np.ndarray, "n d"],
        image_id: Sequence[str] | np.ndarray | None = None,
    ) -> None:
        """Add one shard, then name it in the manifest; rows that are there already do no harm.

        Raises EmbeddingError if an embedding is not finite or zero, or the store cannot be written.
        """
        check_values(values, _names(hashes, image_id))
        data = save(
            {"hashes": np.ascontiguousarray(hashes), "values": np.ascontiguousarray(values)}
        )
        path = self.root / key / f"{hashlib.sha256(data).hexdigest()}.safetensors"
        try:
            with write_atomically(path) as temporary:
                temporary.write_bytes(data)
            self._verified.add(path)
            self._list_shards(key)
        except (OSError, ArtifactError) as error:
            raise EmbeddingError(
                f"The embedding store {self.root} cannot be written: {error}"
            ) from error

    def open_for_writing(self, key: str) -> None:
        """List the shards that are complete but not in the manifest, and remove the damaged ones.

        Raises EmbeddingError if the store cannot be written.
        """
        try:
            (self.root / key).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root / key):
                self._list_shards(key)
        except (OSError, ArtifactError) as error:
            raise EmbeddingError(
                f"The embedding store {self.root} cannot be written: {error}. Make it writable, or name "
                "another folder as `embedding_store` in the catalog."
            ) from error

    def _shards(self, key: str) -> list[Shard]:
        path = self.root / key / _MANIFEST
        try:
            return [Shard(**shard) for shard in json.loads(path.read_bytes())["shards"]]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise EmbeddingError(f"The embedding store cannot be read: {error}.") from error
        except (ValueError, TypeError, KeyError) as error:
            logger.warning("%s is damaged (%s); its shards are checked one by one", path, error)
            return []

    def _list_shards(self, key: str) -> None:
        """Make the manifest name every complete shard in the folder, also those of other writers."""
        folder = self.root / key
        old = self._shards(key)
        listed = {shard.file: shard for shard in old}
        new = []
        for path in sorted(folder.glob(f"{'[0-9a-f]' * 64}.safetensors")):
            if path.name in listed and path in self._verified:
                new.append(listed[path.name])
            elif stored := self._load(path):
                values = stored["values"]
                new.append(
                    Shard(path.name, path.stem, len(values), list(values.shape), str(values.dtype))
                )
            else:
                path.unlink(missing_ok=True)
        if new != old:
            manifest = {"shards": [asdict(shard) for shard in new]}
            with write_atomically(folder / _MANIFEST) as temporary:
                temporary.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")

    def _load(self, path: Path) -> dict[str, np.ndarray] | None:
        """Return a shard's arrays, or None with a warning if it is gone or not what its name promises."""
        try:
            if path not in self._verified:
                with path.open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != path.stem:
                        raise ValueError("its SHA-256 is not the one in its name")
            with safe_open(path, framework="numpy") as file:
                stored = {name: file.get_tensor(name) for name in ("hashes", "values")}
            _check_arrays(**stored)
        except (FileNotFoundError, ValueError, SafetensorError) as error:
            logger.warning("Shard %s is damaged (%s); its images are encoded again", path, error)
            self._verified.discard(path)
            return None
        except OSError as error:
            raise EmbeddingError(f"The embedding store cannot be read: {error}.") from error
        self._verified.add(path)
        return stored


def as_keys(hashes: UInt8[np.ndarray, "n 32"]) -> np.ndarray:
    """Return content hashes as (n,) sortable byte strings."""
    return np.ascontiguousarray(hashes).view("S32").ravel()


def _names(hashes: np.ndarray, image_id: Sequence[str] | np.ndarray | None) -> np.ndarray:
    if image_id is None:
        image_id = [row.tobytes().hex() for row in hashes]
    return np.array(image_id, object)


def _check_arrays(hashes: np.ndarray, values: np.ndarray) -> None:
    dtypes = (str(hashes.dtype), str(values.dtype))
    if dtypes != ("uint8", "float32") or values.ndim != 2 or hashes.shape != (len(values), 32):
        raise ValueError("its arrays are not (r, 32) uint8 hashes and (r, d) float32 values")
