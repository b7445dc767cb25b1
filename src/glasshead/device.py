"""Where torch computes, and what is computed or copied ahead of its use."""

import logging
import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from glasshead.errors import GlassheadError, ParameterError

if TYPE_CHECKING:  # torch takes seconds to import
    import torch

logger = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
Item = TypeVar("Item")
Result = TypeVar("Result")


class Computes(Protocol):
    """Parameters that say where to compute."""

    @property
    def device(self) -> Device:
        """The wish, which `choose_device` fulfils."""


def choose_device(wanted: Device, parameter: str) -> str:
    """Return `cpu` or `cuda`; `auto` is CUDA where there is one.

    Raises:
        ParameterError: `cuda` is wanted where torch sees none; the message names `parameter`.
    """
    import torch

    has_cuda = torch.cuda.is_available()
    if wanted == "cuda" and not has_cuda:
        raise ParameterError(f"{parameter} is cuda, but torch sees no GPU. Use auto or cpu.")
    return "cuda" if has_cuda and wanted != "cpu" else "cpu"


class FittingBatches:
    """Computes batches of rows on `device`, in parts that fit into its memory.

    A part that does not fit is halved, down to single rows, and so are those after it, with a warning. Threads may
    share it. Where one row alone does not fit, `failure` is raised, and ends with `advice`.
    """

    def __init__(self, device: str, failure: type[GlassheadError], advice: str) -> None:
        self._device, self._failure, self._advice = device, failure, advice
        self._most = math.inf  # rows that fit at once, as far as known

    def __call__(
        self, function: "Callable[..., torch.Tensor]", *tensors: "torch.Tensor"
    ) -> "torch.Tensor":
        """Return `function(*parts)` of the rows of all `tensors`, joined in their order."""
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
    """Return half of a batch's `size`, which is too much for the memory of `device`, with a warning.

    Raises `failure`, with `advice`, where there is no half.
    """
    import torch

    if size == 1:
        raise failure(
            f"One image alone is too much for the memory of {device}: {error}. {advice}"
        ) from error
    if device == "cuda":
        torch.cuda.empty_cache()
    logger.warning("Out of memory with %d images at once: going on with %d", size, size // 2)
    return size // 2


@contextmanager
def computing_on(model: "torch.nn.Module", device: str) -> Iterator[None]:
    """Let `model` compute on `device`, in evaluation mode; it comes back to where it was."""
    origin = next(model.parameters()).device
    try:
        model.to(device).eval()
        yield
    finally:
        model.to(origin)


@contextmanager
def torch_threads(count: int | None) -> Iterator[int]:
    """Let torch compute in `count` threads, or as many as before where it is None.

    Gives the number it used before, and uses again afterwards. The last bits of results depend on the number.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(count or threads)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def one_thread() -> AbstractContextManager[int]:
    """Let torch compute in one thread; gives the number it would have used, and has again afterwards.

    The numbers then do not depend on how many there are.
    """
    return torch_threads(1)


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks of up to 32 MB, instead of returning them to the system and taking them back.

    A large tensor in a thread else costs a page fault for each 4 kB of it, at every operation. The thresholds follow
    the largest block that was freed (mallopt(3), M_MMAP_THRESHOLD), so one is freed; other C libraries do not mind.
    """
    bytearray(32 * 2**20 - 2**13)  # just below the largest that counts


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


def copied_ahead(batches: Iterable["torch.Tensor"], device: str) -> Iterator["torch.Tensor"]:
    """Yield `batches` on `device`; the next one is copied on a separate stream during the computation.

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
