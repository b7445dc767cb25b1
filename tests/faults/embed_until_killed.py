"""Embed some tiny images into a store, be killed on the way, and embed them again; run by test_atomic_writes.py.

Arguments: a folder, then failpoints. Prints one JSON object a failpoint: how the first try ended, which files it left
in the store, how many images the second try encoded, and the digest of its embeddings. Each try is a fork, so that
torch is imported once.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from glasshead.embedding.hashes import as_hashes
from glasshead.embedding.local import embed_images
from glasshead.embedding.store import EmbeddingStore
from glasshead.files import FAILPOINT


class Pictures:
    def ids(self) -> pd.Series:
        return pd.Series([f"train/{row}" for row in range(7)])

    def hashes(self) -> np.ndarray:
        return as_hashes(hashlib.sha256(bytes([row])).hexdigest() for row in range(7))

    def release(self) -> None:
        pass

    def pil(self, row: int) -> Image.Image:
        return Image.new("RGB", (2, 2), (row, 2 * row, 255 - row))


class Encoder(torch.nn.Linear):
    key, shape, input_size = "tiny", (5,), 2

    def prepare(self, images: list[Image.Image]) -> torch.Tensor:
        return torch.stack(
            [torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8) for image in images]
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images.flatten(1))


def embed(root: Path) -> None:
    """Leave the count and the digest in `root/result.json`."""
    torch.manual_seed(0)
    store = EmbeddingStore(root / "store")
    embeddings, summary = embed_images(
        Pictures(), Encoder(12, 5), store, batch_size=2, shard_rows=4, device="cpu"
    )
    digest = hashlib.sha256(embeddings.values[:].tobytes()).hexdigest()
    (root / "result.json").write_text(
        json.dumps({"encoded": summary["embed/encoded"], "digest": digest})
    )


def in_a_fork(root: Path, failpoint: str) -> int:
    """Return the signal that ended `embed`, 0 if none did, -1 for an error."""
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)
    os.environ[FAILPOINT] = failpoint
    try:
        embed(root)
    except BaseException:
        os._exit(1)
    os._exit(0)


def main() -> None:
    """Two tries for each failpoint, each in its own folder."""
    torch.set_num_threads(1)  # threads do not survive a fork
    for number, failpoint in enumerate(sys.argv[2:]):
        root = Path(sys.argv[1]) / str(number)
        root.mkdir()
        ended = in_a_fork(root, failpoint)
        left = sorted(
            str(path.relative_to(root / "store/tiny.float32.float32"))
            for path in (root / "store/tiny.float32.float32").iterdir()
        )
        again = in_a_fork(root, "")
        result = json.loads((root / "result.json").read_text())
        line = {"failpoint": failpoint, "ended": ended, "left": left, "again": again, **result}
        sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
