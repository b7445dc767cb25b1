"""The floating-point numbers that a training computes in."""

from typing import Literal

import torch

from glasshead.errors import ParameterError

Precision = Literal["auto", "float32", "bfloat16", "float16"]


def choose_precision(wanted: Precision, device: str) -> torch.dtype:
    """Return the dtype of autocast: `auto` is bfloat16 on CUDA, float32 (no autocast) on a CPU.

    Raises ParameterError for float16 on a CPU, where gradients would vanish without a scaler.
    """
    if wanted == "float16" and device == "cpu":
        raise ParameterError(
            "`precision` is float16, which is for CUDA alone. Use auto, float32 or bfloat16."
        )
    if wanted == "auto":
        return torch.bfloat16 if device == "cuda" else torch.float32
    dtype: torch.dtype = getattr(torch, wanted)
    return dtype
