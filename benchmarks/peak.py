"""The fastest matrix product that this machine shows: what encoders are measured against."""

import time
from collections.abc import Callable

import torch

from glasshead.models import packed

_SIDE, _ROUNDS = {"cpu": 1024, "cuda": 8192}, 3


def matmul_peak(device: str) -> float:
    """Return floating-point operations per second of the best of a few large products on all threads.

    On a CPU in float32 by the faster of PyTorch's two kernels, on a GPU in bfloat16.
    """
    side = _SIDE[device]
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    left, right = (torch.rand(side, side, device=device, dtype=dtype) for _ in range(2))
    products: list[Callable[[], object]] = [lambda: left @ right]
    if device == "cpu" and packed.is_available():
        layer = packed.PackedLinear(right, None)
        products.append(lambda: layer(left))
    with torch.inference_mode():
        return 2 * side**3 / min(_seconds(product, device) for product in products)


def _seconds(product: Callable[[], object], device: str) -> float:
    """Return the least time of a few calls, the first of which is not counted."""
    times = []
    for _ in range(_ROUNDS + 1):
        started = time.perf_counter()
        product()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times[1:])
