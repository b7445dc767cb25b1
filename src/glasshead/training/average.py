"""An exponential moving average of a model's weights."""

import copy

import torch
from torch import Tensor, nn


class WeightAverage:
    """A second model whose weights follow those of the first: average ← decay · average + (1 - decay) · weights.

    After n steps the decay is at most (1 + n) / (10 + n), so that the random start is forgotten (as in TensorFlow's
    ExponentialMovingAverage with `num_updates`). Buffers, such as batch norm statistics, are copied.

    Attributes:
        module: the averaged model, in evaluation mode.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay
        self._averages: list[Tensor] = list(self.module.parameters())

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Follow `model` after its `step`-th step, counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        weights: list[Tensor] = list(model.parameters())
        torch._foreach_lerp_(self._averages, weights, 1 - decay)

    @torch.no_grad()
    def copy_buffers(self, model: nn.Module) -> None:
        """Take over the buffers of `model`."""
        for own, other in zip(self.module.buffers(), model.buffers(), strict=True):
            own.copy_(other)
