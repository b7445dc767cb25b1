"""The numbers of the latest steps, on their way from the device to the history."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from glasshead.training.history import History
from glasshead.training.steps import Stepper

UNREAD = {
    "cpu": 1,
    "cuda": 32,
}  # steps whose numbers may stay on the device, so that it need not be waited for


class Meter:
    """Holds what a `Stepper` has measured until it is read."""

    def __init__(self, stepper: Stepper) -> None:
        self._stepper = stepper
        self._unread: list[tuple[float, Tensor]] = []

    def __len__(self) -> int:
        return len(self._unread)

    @property
    def is_full(self) -> bool:
        """Whether it should be read before the next step."""
        return len(self) >= UNREAD[self._stepper.device]

    def note(self, learning_rate: float, measured: Float[Tensor, " 3"]) -> None:
        """Take loss, accuracy and gradient norm of a step."""
        self._unread.append((learning_rate, measured))

    def read(self, history: History) -> str:
        """Move all into `history` up to the first that is not finite; return that one in words, or else nothing."""
        if not self._unread:
            return ""
        rates, measured = zip(*self._unread, strict=True)
        self._unread = []
        for rate, (loss, accuracy, norm) in zip(rates, torch.stack(measured).tolist(), strict=True):
            skipped = self._stepper.has_skipped(norm)
            if not math.isfinite(loss) or not (math.isfinite(norm) or skipped):
                return f"loss {loss} and gradient norm {norm} in step {len(history.steps) + 1}"
            history.add_step(loss, accuracy, rate, None if skipped else norm)
        return ""
