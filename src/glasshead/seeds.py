"""Named, independent streams of random numbers from one seed, for data, initialisation and order."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


def stream_seed(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed that depends only on `seed` and `names`; different names give independent seeds."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return NumPy's default generator on the stream `names` of `seed`."""
    return np.random.default_rng(stream_seed(seed, *names))


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators, for libraries that draw from them."""
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def numpy_seeded(seed: int) -> Iterator[None]:
    """Seed NumPy's global generator, which shap uses, with `seed`, and restore its state afterwards."""
    state = np.random.get_state()
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        np.random.set_state(state)


@contextmanager
def torch_seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generators of all devices with `seed`, and restore their states afterwards."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
