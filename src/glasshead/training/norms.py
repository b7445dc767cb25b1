"""Batch norms that would see too few values to be trained on."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from glasshead.errors import ParameterError
from glasshead.training.phases import Phase, freeze_others, set_training_mode


def check_single_images(
    model: nn.Module, phases: Sequence[Phase], image: Float[Tensor, "1 3 h w"]
) -> None:
    """Raise ParameterError where a phase cannot take steps on one such `image`, for one value has no spread.

    That is so where a batch norm that it trains sees a map of one pixel, or no map. What `model` was frozen and in
    which mode it was is lost.
    """
    alone = _see_one_value(model, image)
    for phase in phases:
        freeze_others(model, phase)
        set_training_mode(model)
        for name, norm in alone.items():
            if norm.training:
                raise ParameterError(
                    f"Steps on one image cannot train the batch norm {name!r} in phase {phase.name!r}: it sees one "
                    "value a channel, which has no spread. Set `batch_size` to 2 or more, or use larger images."
                )


def _see_one_value(model: nn.Module, image: Tensor) -> dict[str, _BatchNorm]:
    """Return the batch norms, by name, that see one value a channel of one image."""
    norms = {name: part for name, part in model.named_modules() if isinstance(part, _BatchNorm)}
    values: dict[nn.Module, int] = {}

    def note(norm: nn.Module, inputs: tuple[Any, ...]) -> None:
        values[norm] = inputs[0][:, 0].numel()

    hooks = [norm.register_forward_pre_hook(note) for norm in norms.values()]
    try:
        with torch.no_grad():
            model.eval()(image)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: norm for name, norm in norms.items() if values.get(norm) == 1}
