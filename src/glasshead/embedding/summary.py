"""What an engine did, in numbers: how many images, and how fast."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from glasshead.embedding.packed import Precision
from glasshead.embedding.store import Embeddings


@dataclass
class Work:
    """What an engine did: on what, and how many images, operations and seconds of encoding it took."""

    device: str
    precision: Precision
    batch_size: int
    images: int = 0
    flops: float = 0.0
    encoding_seconds: float = 0.0

    def summary(self, embeddings: Embeddings, seconds: float) -> dict[str, Any]:
        """Return the summary of a run of `seconds` in all that led to `embeddings`."""
        n_cached = len(embeddings) - self.images
        shape = list(embeddings.values.shape[1:])
        return {
            "embed/encoded": self.images,
            "embed/cached": n_cached,
            "embed/hit_share": n_cached / len(embeddings),
            "embed/images_per_second": None,
            "embed/shape": shape,
            "embed/mean_l2_norm": _mean_norm(embeddings.values),
            "embed/seconds": seconds,
            "embed/device": self.device,
            "embed/precision": self.precision,
            "embed/batch_size": self.batch_size,
        } | (self._speed() if self.images else {})

    def _speed(self) -> dict[str, float]:
        return {
            "embed/images_per_second": self.images / self.encoding_seconds,
            "embed/gflops_per_second": self.flops / self.encoding_seconds / 1e9,
        }


def _mean_norm(values: Any) -> float:
    """Return the mean L2 norm of up to 10,000 outputs, or of their positions' vectors."""
    some = values[:10_000]
    return float(np.linalg.norm(some.reshape(-1, some.shape[-1]), axis=1).mean())
