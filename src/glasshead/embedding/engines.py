"""What the local and the Ray engine share: the type of their images, the progress bar, and the summary of a run."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from glasshead.embedding.store import Embeddings
from glasshead.models.packed import Precision

Rows = TypeVar("Rows", Tensor, np.ndarray)


class HashedImages(Protocol):
    """What every engine needs of an image table."""

    def ids(self) -> pd.Series:
        """Return the image ids in row order."""

    def hashes(self) -> np.ndarray:
        """Return the SHA-256 of each image's encoded bytes in row order, (n, 32) uint8."""

    def release(self) -> None:
        """Release the memory of images that were read."""


@contextmanager
def progress_bar(total: int, completed: int) -> Iterator[Callable[[Rows], Rows]]:
    """Show a bar on stderr; yield a function that advances the bar by the rows of a batch and returns the batch."""
    columns = (
        TextColumn("embed"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{{task.fields[rate]:,.0f}} images/s, {completed:,} cached"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("embed", total=total, completed=completed, rate=0.0)
        started = time.perf_counter()
        encoded = 0

        def advance(batch: Rows) -> Rows:
            nonlocal encoded
            encoded += len(batch)
            progress.update(
                task, advance=len(batch), rate=encoded / (time.perf_counter() - started)
            )
            return batch

        yield advance


@dataclass
class Work:
    """The work of an engine: device, precision, images, operations and seconds of encoding."""

    device: str
    precision: Precision
    batch_size: int
    images: int = 0
    flops: float = 0.0
    encoding_seconds: float = 0.0

    def summary(self, embeddings: Embeddings, seconds: float) -> dict[str, Any]:
        """Return the summary of a run that made `embeddings` in `seconds`."""
        n_cached = len(embeddings) - self.images
        shape = list(embeddings.values.shape[1:])
        summary = {
            "embed/encoded": self.images,
            "embed/cached": n_cached,
            "embed/hit_fraction": n_cached / len(embeddings),
            "embed/images_per_second": self.images / self.encoding_seconds if self.images else None,
            "embed/shape": shape,
            "embed/mean_l2_norm": _mean_norm(embeddings.values),
            "embed/seconds": seconds,
            "embed/device": self.device,
            "embed/precision": self.precision,
            "embed/batch_size": self.batch_size,
        }
        if self.images:
            summary["embed/gflops_per_second"] = self.flops / self.encoding_seconds / 1e9
        return summary


def _mean_norm(values: Any) -> float:
    """Return the mean L2 norm of up to 10,000 outputs; for spatial outputs, of the vectors along their last axis."""
    first = values[:10_000]
    return float(np.linalg.norm(first.reshape(-1, first.shape[-1]), axis=1).mean())
