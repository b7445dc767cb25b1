"""Where torch computes."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

from glasshead.errors import ParameterError

Device = Literal["auto", "cpu", "cuda"]


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
