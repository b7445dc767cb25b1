"""The image encoder as the engines run it: on a device, in a precision, with counts of images and operations."""

import copy
import logging
import threading

import torch
from jaxtyping import UInt8
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from glasshead.device import Device, FittingBatches, choose_device
from glasshead.errors import EmbeddingError, ParameterError
from glasshead.models import packed
from glasshead.models.packed import Precision

logger = logging.getLogger(__name__)

_PRECISIONS: dict[str, tuple[Precision, ...]] = {  # by device, the default first
    "cpu": ("float32", "int8") if packed.is_available() else ("float32",),
    "cuda": ("bfloat16", "float32"),
}


class CountingEncoder:
    """An image encoder on a device, which counts images and floating-point operations.

    `precision` is float32 or int8 on a CPU (see `packed`), and float32 or bfloat16 on a GPU; None is float32 on a CPU
    and bfloat16 on a GPU. Batches that do not fit into memory are halved, down to single images. Threads may share an
    encoder.

    Raises ParameterError if there is no CUDA device, or the device does not support the precision.
    """

    def __init__(
        self, encoder: nn.Module, device: Device = "auto", precision: Precision | None = None
    ) -> None:
        self.device = choose_device(device, "embed.device")
        self.precision = choose_precision(precision, self.device)
        self.images = 0
        self.flops = 0.0  # of all images so far
        self._flops_an_image: float | None = None
        self._fitting = FittingBatches(
            self.device, EmbeddingError, "Use a smaller backbone, or embed.device=cpu."
        )
        self._lock = threading.Lock()
        self._is_packed = self.device == "cpu" and self.precision != "bfloat16"
        self._layout = torch.channels_last
        if not self._is_packed:
            encoder = copy.deepcopy(encoder).to(self.device, getattr(torch, self.precision))
            self._encoder = self._unpacked = encoder.to(memory_format=self._layout)
            return
        if packed.is_convolutional(encoder):
            encoder = copy.deepcopy(encoder).to(memory_format=self._layout)
        else:
            self._layout = torch.preserve_format
        self._unpacked = encoder
        if packed.is_available():
            self._encoder = packed.pack(encoder, self.precision)
        else:
            logger.warning(
                "This PyTorch has no packed linear layers: embedding takes about twice as long"
            )
            self._encoder = encoder

    @torch.inference_mode()
    def __call__(self, pixels: UInt8[Tensor, "b 3 h w"]) -> Tensor:
        """Return the outputs (b, ...) for pixels from 0 to 255 at the input size, on the device."""
        return self._fitting(self._encode, pixels)

    def _encode(self, pixels: Tensor) -> Tensor:
        images = pixels.to(self.device, non_blocking=True, memory_format=self._layout)
        if not self._is_packed:
            images = images.to(getattr(torch, self.precision))
        if self._flops_an_image is None:
            try:
                outputs, flops = self._count(images / 255)
            except Exception as error:  # of more than a thousand networks, each has its own
                if isinstance(error, torch.OutOfMemoryError) or self._encoder is self._unpacked:
                    raise
                self._encoder = packed.without_packed_layers(self._unpacked, self.precision, error)
                outputs, flops = self._count(images / 255)
            self._flops_an_image = flops / len(pixels)
        else:
            outputs = self._encoder(images / 255)
        with self._lock:
            self.images += len(pixels)
            self.flops += self._flops_an_image * len(pixels)
        return outputs

    def _count(self, images: Tensor) -> tuple[Tensor, int]:
        """Return the outputs, and the floating-point operations that they took."""
        with FlopCounterMode(display=False, custom_mapping=packed.FLOPS) as counter:
            outputs: Tensor = self._encoder(images)
        return outputs, counter.get_total_flops()


def choose_precision(wanted: Precision | None, device: str) -> Precision:
    """Return `wanted`, or the default of `device`; ParameterError if `device` does not support it."""
    here = _PRECISIONS[device]
    if wanted and wanted not in here:
        raise ParameterError(
            f"embed.precision is {wanted}, but {device} supports {' or '.join(here)} here. Use one of these, or auto."
        )
    return wanted or here[0]
