"""Where torch computes."""

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
