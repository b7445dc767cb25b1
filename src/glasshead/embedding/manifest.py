"""The manifest of a folder of shards: which of its files are complete, and what they hold."""

import json
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from glasshead.errors import EmbeddingError
from glasshead.files import write_atomically

logger = logging.getLogger(__name__)

SHARD_NAME = re.compile(r"[0-9a-f]{64}\.safetensors")


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
        if not names_itself or not SHARD_NAME.fullmatch(self.file):
            raise ValueError(f"{self.file!r} is not the name of a shard")

    @cached_property
    def line(self) -> str:
        """The row as JSON, made once: a long run writes it many times."""
        names = ("file", "sha256", "rows", "shape", "dtype")
        return json.dumps({name: getattr(self, name) for name in names})


class Manifest:
    """`manifest.json`, read again only when somebody has replaced it, so that adding a shard stays cheap.

    What this object has added stays known to it, also where another writer's manifest has come in between.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = (
            None  # inode, time and size of the file as last read or written
        )
        self._read: dict[str, Shard] = {}
        self._added: dict[str, Shard] = {}

    def shards(self) -> dict[str, Shard]:
        """Return by file the shards that the manifest names, and those that were added here; raises as `listed`."""
        return self.listed() | self._added

    def listed(self) -> dict[str, Shard]:
        """Return by file the shards that the manifest names, as it is now; a damaged one names none, with one warning.

        Raises EmbeddingError where it cannot be read.
        """
        try:
            status = self._path.stat()
            if (seen := (status.st_ino, status.st_mtime_ns, status.st_size)) != self._seen:
                listed = json.loads(self._path.read_bytes())["shards"]
                self._read = {shard["file"]: Shard(**shard) for shard in listed}
                self._seen = seen
        except FileNotFoundError:
            self._read, self._seen = {}, None
        except OSError as error:
            raise EmbeddingError(f"The embedding store cannot be read: {error}.") from error
        except (ValueError, TypeError, KeyError) as error:
            logger.warning(
                "%s is damaged (%s); its shards are checked one by one", self._path, error
            )
            self._read, self._seen = {}, seen
        return self._read

    def add(self, shard: Shard) -> None:
        """Name one more complete shard."""
        self._added[shard.file] = shard
        self.replace(self.shards().values())

    def replace(self, shards: Iterable[Shard]) -> None:
        """Name these shards and no others; raises ArtifactError where the file system refuses."""
        self._read = {shard.file: shard for shard in sorted(shards, key=lambda shard: shard.file)}
        self._added = {file: shard for file, shard in self._added.items() if file in self._read}
        lines = ",\n".join(shard.line for shard in self._read.values())
        with write_atomically(self._path) as temporary:
            temporary.write_text(f'{{"shards": [\n{lines}\n]}}\n')
            status = temporary.stat()  # renaming keeps all three
        self._seen = status.st_ino, status.st_mtime_ns, status.st_size
