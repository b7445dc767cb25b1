"""Embed some tiny images into a store, be killed on the way, and embed them again; run by test_atomic_writes.py.

Prints what forks.py does, with the files that the first try left in the store, how many images the second one encoded,
and the digest of its embeddings.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from forks import try_failpoints
from glasshead.embedding.hashes import as_hashes
from glasshead.embedding.local import embed_images
from glasshead.embedding.store import EmbeddingStore


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


def files_left(root: Path) -> dict[str, list[str]]:
    folder = root / "store/tiny.float32.float32"
    return {"left": sorted(str(path.relative_to(folder)) for path in folder.iterdir())}


if __name__ == "__main__":
    try_failpoints(embed, files_left)
