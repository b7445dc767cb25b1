"""Work done ahead of its use: batches computed by threads, and copied to a device while it computes."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Result = TypeVar("Result")


def computed_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int
) -> Generator[Result]:
    """Yield `function(item)` in order, computed by `threads` threads up to `ahead` items ahead."""
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def copied_ahead(batches: Iterable[Tensor], device: str) -> Iterator[Tensor]:
    """Yield `batches` on `device`; while it works on one, the next is copied on a stream of its own.

    Copies overlap with computation from pinned memory alone. On a CPU, streams do nothing and batches are yielded
    as they are.
    """
    backend = torch.get_device_module(device)
    copies = backend.Stream()

    def send(batch: Tensor) -> Tensor:
        with backend.stream(copies):
            return batch.to(device, non_blocking=True)

    def arrived(batch: Tensor) -> Tensor:
        backend.current_stream().wait_stream(copies)
        if batch.is_cuda:
            batch.record_stream(
                backend.current_stream()
            )  # or its memory is taken for the next copy
        return batch

    source = iter(batches)
    current = next(source, None)
    under_way = None if current is None else send(current)
    while under_way is not None:
        batch = arrived(under_way)  # before the next copy is queued, which it would wait for too
        current = next(source, None)
        under_way = None if current is None else send(current)
        yield batch
