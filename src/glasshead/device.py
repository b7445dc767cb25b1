"""The device, threads and memory that torch uses, and iterators that compute or copy items in advance."""

import ctypes
import logging
import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from glasshead.errors import GlassheadError, ParameterError

if TYPE_CHECKING:  # torch takes seconds to import
    import torch

logger = logging.getLogger(__name__)

M_ARENA_MAX = -8  # in malloc.h

Device = Literal["auto", "cpu", "cuda"]
Item = TypeVar("Item")
Result = TypeVar("Result")


class Computes(Protocol):
    """Parameters that name a device."""

    @property
    def device(self) -> Device:
        """The device to compute on; `choose_device` resolves `auto`."""


def choose_device(wanted: Device, parameter: str) -> str:
    """Return `cpu` or `cuda`; `auto` is CUDA if torch sees a GPU.

    Raises:
        ParameterError: `wanted` is `cuda`, but torch sees no GPU; the message names `parameter`.
    """
    import torch

    has_cuda = torch.cuda.is_available()
    if wanted == "cuda" and not has_cuda:
        raise ParameterError(f"{parameter} is cuda, but torch sees no GPU. Use auto or cpu.")
    return "cuda" if has_cuda and wanted != "cpu" else "cpu"


class FittingBatches:
    """Computes batches of rows on `device`, in chunks that fit into its memory.

    If a chunk does not fit, that chunk and all later ones are halved, with a warning, down to single rows. If a single
    row does not fit, an error of type `failure` is raised; its message ends with `advice`. Threads may share an object.
    """

    def __init__(self, device: str, failure: type[GlassheadError], advice: str) -> None:
        self._device, self._failure, self._advice = device, failure, advice
        self._most = math.inf  # the largest number of rows that may fit at once

    def __call__(
        self, function: "Callable[..., torch.Tensor]", *tensors: "torch.Tensor"
    ) -> "torch.Tensor":
        """Return the outputs of `function` for the rows of all `tensors`, chunk by chunk, joined in order."""
        import torch

        count = len(tensors[0])
        outputs: list[torch.Tensor] = []
        while (done := sum(map(len, outputs))) < count:
            size = int(min(self._most, count - done))
            try:
                outputs.append(function(*(tensor[done : done + size] for tensor in tensors)))
            except torch.OutOfMemoryError as error:
                half = halve_batch(size, self._device, error, self._failure, self._advice)
                self._most = min(self._most, half)
        return torch.cat(outputs) if len(outputs) > 1 else outputs[0]


def halve_batch(
    size: int,
    device: str,
    error: "torch.OutOfMemoryError",
    failure: type[GlassheadError],
    advice: str,
) -> int:
    """Warn that a batch of `size` does not fit into the memory of `device`, and return half of `size`.

    Raises `failure`, with `advice`, if `size` is 1.
    """
    import torch

    if size == 1:
        raise failure(
            f"A single image does not fit into the memory of {device}: {error}. {advice}"
        ) from error
    if device == "cuda":
        torch.cuda.empty_cache()
    logger.warning("Out of memory with %d images at once; continuing with %d", size, size // 2)
    return size // 2


@contextmanager
def computing_on(model: "torch.nn.Module", device: str) -> Iterator[None]:
    """Move `model` to `device`, in evaluation mode, and back to its own device afterwards."""
    weights = next(chain(model.parameters(), model.buffers()), None)
    origin = device if weights is None else weights.device
    try:
        model.to(device).eval()
        yield
    finally:
        model.to(origin)


@contextmanager
def torch_threads(count: int | None) -> Iterator[int]:
    """Let torch compute in `count` threads inside the block; None keeps the current number.

    Yields the previous number of threads, which is restored afterwards. The last bits of a result depend on the number
    of threads, so results that must be equal on all machines are computed in one thread.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(count or threads)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def keep_freed_memory() -> None:
    """Make glibc keep freed blocks of up to 32 MB instead of returning them to the system.

    Otherwise every operation of a thread on a large tensor has a page fault for each 4 kB. glibc raises its thresholds
    to the size of the largest block that was freed (mallopt(3), M_MMAP_THRESHOLD), so this function allocates and frees
    such a block. With other C libraries it has no effect.
    """
    bytearray(32 * 2**20 - 2**13)  # just below the largest block that glibc takes into account


def share_one_heap() -> None:
    """Let threads of this process that start later take memory from one heap of glibc (mallopt(3), M_ARENA_MAX).

    Otherwise each gets its own, and what one has freed no other can use. With other C libraries it has no effect.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(M_ARENA_MAX, 1)


def computed_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int
) -> Generator[Result]:
    """Yield `function(item)` for each item in order; `threads` threads compute up to `ahead` results in advance."""
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


def copied_ahead(batches: Iterable["torch.Tensor"], device: str) -> Iterator["torch.Tensor"]:
    """Yield `batches` on `device`, and copy the next one on a separate stream while the caller computes.

    Copies overlap with computation only from pinned memory. On a CPU, batches are yielded unchanged.
    """
    import torch

    backend = torch.get_device_module(device)
    copies = backend.Stream()

    def send(batch: "torch.Tensor") -> "torch.Tensor":
        with backend.stream(copies):
            return batch.to(device, non_blocking=True)

    def arrived(batch: "torch.Tensor") -> "torch.Tensor":
        backend.current_stream().wait_stream(copies)
        if batch.is_cuda:
            # Without this, the next copy could take the memory of this batch.
            batch.record_stream(backend.current_stream())
        return batch

    source = iter(batches)
    current = next(source, None)
    under_way = None if current is None else send(current)
    while under_way is not None:
        # Before the next copy is queued: later, this batch would wait for that copy too.
        batch = arrived(under_way)
        current = next(source, None)
        under_way = None if current is None else send(current)
        yield batch
