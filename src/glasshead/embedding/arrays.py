"""Images that are in memory already, as pixels: embedded without a file, a decoder or an image table."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import UInt8
from torch import Tensor

from glasshead.errors import ParameterError


class PixelImages:
    """RGB images of one size: `pixels` (n, 3, h, w) from 0 to 255, on the CPU.

    The hash of an image is the SHA-256 of its size and pixels. Raises ParameterError where `pixels` are not that, or
    ids are more or fewer than images.
    """

    def __init__(
        self, pixels: UInt8[Tensor, "n 3 h w"], image_id: Sequence[str] | None = None
    ) -> None:
        if (
            pixels.dtype != torch.uint8
            or pixels.ndim != 4
            or pixels.shape[1] != 3
            or pixels.is_cuda
        ):
            raise ParameterError(
                "Pixels to embed are uint8 (n, 3, h, w) from 0 to 255 on the CPU, not "
                f"{str(pixels.dtype).removeprefix('torch.')} {tuple(pixels.shape)} on {pixels.device}."
            )
        names = [str(row) for row in range(len(pixels))] if image_id is None else list(image_id)
        if len(names) != len(pixels):
            raise ParameterError(f"There are {len(names)} ids for {len(pixels)} images.")
        self._pixels = pixels.contiguous()
        self._ids = pd.Series(names, dtype="str")
        size = str(tuple(pixels.shape[1:])).encode()
        digests = (
            hashlib.sha256(size + image.tobytes()).digest() for image in self._pixels.numpy()
        )
        self._hashes = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)

    def __len__(self) -> int:
        return len(self._pixels)

    def ids(self) -> pd.Series:
        """Return the image ids in row order: those given, or the rows' numbers."""
        return self._ids

    def hashes(self) -> UInt8[np.ndarray, "n 32"]:
        """Return the hash of each image in row order."""
        return self._hashes

    def batch(self, rows: np.ndarray) -> UInt8[Tensor, "b 3 h w"]:
        """Return the pixels of `rows`."""
        return self._pixels[torch.from_numpy(rows)]

    def release(self) -> None:
        """Keep all: the pixels are the caller's."""
