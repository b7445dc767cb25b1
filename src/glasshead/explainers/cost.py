"""What explanations and their measures cost, and smaller counts that keep to a limit.

The cost is counted in operations of the classifier, not timed: so the same images are explained in the same way on
every machine, and a repeated run gives the same bytes.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from pydantic import BaseModel
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from glasshead.explainers.evaluation import EvaluationParams
from glasshead.explainers.methods import METHODS
from glasshead.explainers.passes import Budget
from glasshead.models.classifier import access_of

Params = TypeVar("Params", bound=BaseModel)


def _attention(query: Any, key: Any, value: Any, *args: Any, **options: Any) -> int:
    """Return the operations of attention, from the shapes of its inputs."""
    return int(sdpa_flop_count(query, key, value))


# what the counter does not know
ATTENTION = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}
OPERATIONS = 5e10  # that two cores of a laptop compute in a second, in networks of usual layers
DIVISORS = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
# Counts that are reduced, and those below which a result says nothing. The steps of Integrated Gradients are not: with
# fewer, its contributions no longer add up.
LEAST = {
    "samples": 4,
    "lime_samples": 64,
    "images": 8,
    "deletion_steps": 4,
    "infidelity_samples": 4,
    "randomisation_images": 4,
    "sensitivity_images": 1,
    "sensitivity_samples": 2,
}


def forward_operations(classifier: nn.Module, side: int) -> int:
    """Return the floating-point operations of a pass of one image of `side` × `side` pixels.

    They are counted where torch computes them. Of a file that another runtime computes, they are estimated: each byte
    is a quarter of a weight, used at each place of a map with a 32nd of the image's side.
    """
    if access_of(classifier) == "table":
        return 0
    weights = next(classifier.parameters(), None)
    if weights is None:
        stored = sum(buffer.nbytes for buffer in classifier.buffers())
        return 2 * (stored // 4) * max(1, side // 32) ** 2
    device = weights.device
    counter = FlopCounterMode(display=False, custom_mapping=ATTENTION)
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the counter does not know the fused operator
    try:
        with torch.no_grad(), counter:
            classifier(torch.zeros(1, 3, side, side, device=device))
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return counter.get_total_flops()


def passes(
    methods: Mapping[str, int | None],
    shown: int,
    budget: Budget,
    evaluation: EvaluationParams,
    side: int,
) -> float:
    """Return how many forward passes of one image explanations and their measures take.

    `methods` are those that apply, each with the number of evaluation images that it explains, or None for all of them
    and the `shown` ones.
    """
    total = float(evaluation.infidelity_samples * evaluation.images)
    for name, count in methods.items():
        each = METHODS[name].passes(budget, side)
        measured = min(count or evaluation.images, evaluation.images)
        explained = measured + (shown if count is None else 0)
        explained += min(evaluation.randomisation_images, measured)
        explained += min(evaluation.sensitivity_images, measured) * evaluation.sensitivity_samples
        total += each * explained + 2 * (evaluation.deletion_steps + 1) * measured
    return total


def reduced(params: Params, divisor: float) -> Params:
    """Return `params` with each count that `LEAST` names divided by `divisor`, but no further down than there."""
    counts = {name: getattr(params, name) for name in LEAST if hasattr(params, name)}
    return params.model_copy(
        update={
            name: min(count, max(LEAST[name], round(count / divisor)))
            for name, count in counts.items()
        }
    )
