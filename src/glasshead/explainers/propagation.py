"""Layer-wise relevance propagation, Bach et al. 2015, doi:10.1371/journal.pone.0130140, by captum."""

import operator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse

from glasshead.errors import ExplanationError
from glasshead.explainers.attribution import Attribution
from glasshead.explainers.passes import Budget, Images, Targets, in_passes, target_logits

# Layers that captum has rules for, and operations that only rearrange values.
LAYERS = (
    nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.ReLU, nn.Dropout,
    nn.Tanh,
)  # fmt: skip
MOVES = ("flatten", torch.flatten)


def lrp(classifier: nn.Module, images: Images, targets: Targets, budget: Budget) -> Attribution:
    """Return the relevance (n, 3, h, w) of the normalised pixels for the target logit, by the epsilon rule.

    Batch norms are folded into the convolutions before them. The base is 0. The completeness gap is the relevance that
    biases absorb, not a numerical error.

    Raises ExplanationError, with the reason from `propagable`, if a part of the network has no rule.
    """
    from captum.attr import LRP

    reason = propagable(classifier)
    if reason:
        raise ExplanationError(reason)
    layered: Any = classifier
    network = fuse(layered.net)

    def compute(batch: Tensor, target: Tensor) -> Float[Tensor, "b 3 h w"]:
        points = layered.normalise(batch).detach().requires_grad_()
        relevance: Tensor = LRP(network).attribute(points, target=target)
        return relevance.detach()

    values = in_passes(compute, budget.batch_size, images, targets, parallel=False)
    output = target_logits(classifier, images, targets, budget.batch_size)
    return Attribution(values.cpu().numpy(), np.zeros(len(images)), output.cpu().numpy())


def propagable(classifier: nn.Module) -> str | None:
    """Return why relevance cannot be propagated through a classifier, or None if it can.

    Its network `net`, which reads what `normalise` returns, must be a chain of layers with rules, each used once.
    """
    network = getattr(classifier, "net", None)
    if network is None or not hasattr(classifier, "normalise"):
        return (
            f"A {type(classifier).__name__} is not a chain of layers behind a normalisation. Relevance has no rules "
            "for other operations, such as attention and layer norms."
        )
    try:
        graph = fx.symbolic_trace(network)
    except Exception as error:  # tracing a forward that depends on values can raise any exception
        return f"A {type(network).__name__} is not a chain of torch's own layers: {error}."
    return _first_obstacle(graph)


def _first_obstacle(traced: fx.GraphModule) -> str | None:
    seen: set[Any] = set()
    for node in traced.graph.nodes:
        if node.op in ("placeholder", "output"):
            continue
        if node.op != "call_module":
            if node.target in MOVES:
                continue
            return f"Relevance has no rule for {_name(node.target)} outside of layers."
        layer = type(traced.get_submodule(node.target))
        if layer not in LAYERS:
            return f"Relevance has no rule for {layer.__name__}."
        if node.target in seen:
            return f"The layer {node.target} is used twice, but relevance can pass it only once."
        seen.add(node.target)
    return None


def _name(target: Any) -> str:
    """Return a function's or method's name as people write it."""
    if target in (operator.add, operator.iadd):
        return "additions (residuals)"
    return str(getattr(target, "__name__", target))
