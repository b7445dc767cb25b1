"""The bar that shows how far an engine is."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

Rows = TypeVar("Rows", Tensor, np.ndarray)


@contextmanager
def progress_bar(total: int, completed: int) -> Iterator[Callable[[Rows], Rows]]:
    """Show a bar on stderr; what is yielded passes an encoded batch on and advances by its rows."""
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
