"""The embedding cache: an image's content hash → encoder output, in a folder of safetensors shards per encoder key.

    <root>/<encoder key>/manifest.json          per shard: file, sha256, rows, shape, dtype
    <root>/<encoder key>/<sha256>.safetensors   hashes (r, 32) uint8; values (r, ...) float32 or float16

A shard is complete before the manifest lists it, and readers trust only the manifest. A shard's name is the SHA-256 of
its bytes, so that a shard that a killed run or a race between two runs left unlisted can be listed later.
"""

import hashlib
import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float32, Int, UInt8
from safetensors.numpy import save

from glasshead.embedding.hashes import HashIndex, as_hashes
from glasshead.embedding.shards import SHARD_NAME, Manifest, OpenShard, Shard, open_shard
from glasshead.errors import ArtifactError, EmbeddingError
from glasshead.files import write_atomically

logger = logging.getLogger(__name__)

_MANIFEST = "manifest.json"


Values = Float[np.ndarray, "n ..."]


class StoredRows:
    """The outputs of `n` images as float32, read from memory-mapped shards on demand.

    `rows[i]`, `rows[array]`, `rows[:]` and `np.asarray(rows)` read; `found` (n,) says which rows exist.
    """

    def __init__(self, shards: list[np.ndarray], positions: Int[np.ndarray, "n 2"]) -> None:
        self._shards = shards
        self._positions = positions  # an image's shard and row there, or -1
        self.shape = (len(positions), *(shards[0].shape[1:] if shards else ()))

    @property
    def found(self) -> Bool[np.ndarray, " n"]:
        """Which rows the store holds."""
        return self._positions[:, 0] >= 0

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, rows: slice | np.ndarray | list[int]) -> Float32[np.ndarray, "m ..."]:
        positions = self._positions[rows]
        if (positions < 0).any():
            raise EmbeddingError(
                f"{(positions[:, 0] < 0).sum()} of these rows are not in the store. Run `kedro run --pipelines=embed`."
            )
        values = np.empty((len(positions), *self.shape[1:]), np.float32)
        for shard in np.unique(positions[:, 0]):
            here = positions[:, 0] == shard
            values[here] = self._shards[shard][positions[here, 1]]
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


@dataclass(frozen=True)
class Embeddings:
    """Image-encoder outputs, one row per row of the image table, as the encoder returns them: not L2-normalised.

    Attributes:
        image_id: (n,) str, the table's ids in the table's order.
        hashes: the SHA-256 of each image's encoded bytes.
        values: (n, d), or (n, ...) for spatial outputs; in memory or rows of a store, float32 either way.
        encoder_key: the key of the encoder that made the values.
        store_key: the store's key for the values: encoder key, precision of computation and stored dtype.
    """

    image_id: pd.Series | np.ndarray
    hashes: UInt8[np.ndarray, "n 32"]
    values: Float32[np.ndarray, "n ..."] | StoredRows
    encoder_key: str
    store_key: str = ""

    def __len__(self) -> int:
        return len(self.image_id)

    def of(self, content_hash: Iterable[str], encoder_key: str) -> Float32[np.ndarray, "m ..."]:
        """Return the outputs of the encoder with this key for the images with these contents.

        Raises ArtifactError if another encoder made them, or a content is missing.
        """
        if encoder_key != self.encoder_key:
            raise ArtifactError(
                f"The stored embeddings come from another backbone (encoder key {self.encoder_key[:12]}…; the "
                f"configured one has {encoder_key[:12]}…). Run `kedro run --pipelines=embed` with the configured "
                "backbone."
            )
        wanted = as_hashes(content_hash)
        rows = np.full(len(wanted), -1)
        mine, theirs = HashIndex(self.hashes).pairs(wanted)
        rows[theirs] = mine
        if (rows < 0).any():
            raise ArtifactError(
                f"{(rows < 0).sum()} of {len(rows)} images have no embedding: other images were embedded. "
                "Run `kedro run --pipelines=embed`."
            )
        return self.values[rows]


class TakenRows:
    """The `ids` of `rows`, looked up one by one, as looking up all at once is slow for long tables."""

    def __init__(self, ids: pd.Series, rows: Int[np.ndarray, " n"]) -> None:
        self._ids, self._rows = ids, rows

    def __getitem__(self, index: int) -> str:
        return str(self._ids.iloc[self._rows[index]])


Names = Sequence[str] | TakenRows | np.ndarray


def check_values(values: Values, names: Names) -> None:
    """Raise EmbeddingError naming the first five images whose output is NaN, infinite or all zero.

    `names` are image ids, or content hashes (n, 32).
    """
    flat = values.reshape(len(values), -1)
    bad = np.flatnonzero(~np.isfinite(flat).all(axis=1) | ~flat.any(axis=1))
    if len(bad):
        shown = [names[row] for row in bad[:5].tolist()]
        named = [str(n.tobytes().hex() if isinstance(n, np.ndarray) else n) for n in shown]
        raise EmbeddingError(
            f"{len(bad)} of {len(values)} embeddings are NaN, infinite or zero in {values.dtype}: {', '.join(named)}"
            f"{', …' if len(bad) > 5 else ''}. Check the backbone's weights and these images."
        )


class EmbeddingStore:
    """Reads and appends outputs of encoders by content hash; the module's docstring describes the files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: set[Path] = set()
        self._reported: set[Path] = set()
        self._manifests: dict[str, Manifest] = {}

    def rows(self, key: str, hashes: UInt8[np.ndarray, "n 32"]) -> StoredRows:
        """Return the outputs of the images with these hashes; only the hashes of shards are read.

        The SHA-256 of a shard is verified at its first use; a damaged one is reported, and its rows count as missing.
        Raises EmbeddingError if the store cannot be read.
        """
        wanted = HashIndex(hashes)
        positions = np.full((len(hashes), 2), -1, np.int32)
        shards: list[np.ndarray] = []
        for file in self._manifest(key).shards() if len(hashes) else ():
            path = self.root / key / file
            if (stored := self._open(path)) is None:
                continue
            hits, rows = wanted.pairs(stored.hashes)
            if len(hits) and self._is_whole(path):
                positions[hits] = np.stack([np.full(len(rows), len(shards)), rows], axis=1)
                shards.append(stored.values)
        return StoredRows(shards, positions)

    def append(
        self,
        key: str,
        hashes: UInt8[np.ndarray, "n 32"],
        values: Values,
        image_id: Names | None = None,
    ) -> None:
        """Write `values`, float32 or float16, as a shard and list it; rows that the store already has do no harm.

        Errors name images by `image_id`, or by content hash if that is None.
        Raises EmbeddingError if an output is not finite or all zero, or the store cannot be written.
        """
        check_values(values, hashes if image_id is None else image_id)
        data = save(
            {"hashes": np.ascontiguousarray(hashes), "values": np.ascontiguousarray(values)}
        )
        path = self.root / key / f"{hashlib.sha256(data).hexdigest()}.safetensors"
        try:
            with write_atomically(path) as temporary:
                temporary.write_bytes(data)
            self._verified.add(path)
            self._manifest(key).add(_shard(path, values))
        except (OSError, ArtifactError) as error:
            raise EmbeddingError(
                f"The embedding store {self.root} cannot be written: {error}"
            ) from error

    def open_for_writing(self, key: str) -> None:
        """List the shards that are complete but not in the manifest, and remove the damaged ones.

        To be called before the first shard is written and after the last: it lists what a killed or concurrent run
        left unlisted.
        Raises EmbeddingError if the store cannot be written.
        """
        try:
            (self.root / key).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root / key):
                self._list_shards(key)
        except (OSError, ArtifactError) as error:
            raise EmbeddingError(
                f"The embedding store {self.root} cannot be written: {error}. Make it writable, or set "
                "`embedding_store` to another folder in conf/ENV/globals.yml (ENV is the --env of the run, or local)."
            ) from error

    def _manifest(self, key: str) -> Manifest:
        return self._manifests.setdefault(key, Manifest(self.root / key / _MANIFEST))

    def _list_shards(self, key: str) -> None:
        """List every complete shard in the folder, including those of other writers."""
        manifest = self._manifest(key)
        old, new = manifest.listed(), []
        paths = [path for path in (self.root / key).iterdir() if SHARD_NAME.fullmatch(path.name)]
        for path in sorted(paths):
            if path.name in old and path in self._verified:
                new.append(old[path.name])
            elif self._is_whole(path) and (stored := self._open(path)):
                new.append(_shard(path, stored.values))
            else:
                path.unlink(missing_ok=True)
        if new != list(old.values()):
            manifest.replace(new)

    def _is_whole(self, path: Path) -> bool:
        """Whether a shard's bytes match the hash in its name; if not, a warning is logged once."""
        if path not in self._verified:
            with self._reading(path):
                with path.open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != path.stem:
                        raise ValueError("its SHA-256 is not the one in its name")
                self._verified.add(path)
        return path in self._verified

    def _open(self, path: Path) -> OpenShard | None:
        """Return a shard, or None with one warning if it is missing or damaged."""
        with self._reading(path):
            return open_shard(path)
        return None

    @contextmanager
    def _reading(self, path: Path) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            fault = "gone" if isinstance(error, FileNotFoundError) else f"damaged ({error})"
            if path not in self._reported:
                logger.warning("Shard %s is %s: its embeddings count as missing", path, fault)
            self._reported.add(path)
            self._verified.discard(path)
        except OSError as error:
            raise EmbeddingError(f"The embedding store cannot be read: {error}.") from error


def _shard(path: Path, values: np.ndarray) -> Shard:
    return Shard(path.name, path.stem, len(values), list(values.shape), str(values.dtype))
