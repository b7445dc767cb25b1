"""Optimisers by name, and which parameters go to which."""

from typing import Literal

import torch
from pydantic import BaseModel, Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from glasshead.training.muon import Muon
from glasshead.training.phases import Phase


class OptimiserParams(BaseModel, extra="forbid", frozen=True):
    """The optimiser; `matrix_…` and `others` concern Muon alone."""

    name: Literal["sgd", "adamw", "muon"] = "sgd"
    learning_rate: PositiveFloat = 0.05
    momentum: float = Field(default=0.9, ge=0, lt=1)  # SGD's, Nesterov where it is above 0
    weight_decay: NonNegativeFloat = 5e-4
    matrix_learning_rate: PositiveFloat = 0.02
    matrix_momentum: float = Field(default=0.95, ge=0, lt=1)
    matrix_fixed_norm: bool = False
    others: Literal["sgd", "adamw"] = "sgd"  # for what is no matrix


def build_optimisers(
    model: nn.Module, phase: Phase, params: OptimiserParams
) -> list[torch.optim.Optimizer]:
    """Return the optimisers that together train the parameters of `phase`.

    Muon takes filters of convolutions and matrices, but not depthwise filters, which are vectors, nor the last of the
    model's matrices, its head (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/). Weight decay acts on
    matrices and filters alone, not on biases and norms: as L2 penalty in SGD, decoupled in the others.
    """
    parameters = dict(model.named_parameters())
    hidden = _hidden_matrices(parameters) if params.name == "muon" else set()
    matrices = _param_groups(phase, parameters, hidden, params.matrix_learning_rate, params)
    others = _param_groups(
        phase, parameters, set(parameters) - hidden, params.learning_rate, params
    )
    optimisers: list[torch.optim.Optimizer] = []
    if matrices:
        optimisers.append(
            Muon(
                matrices,  # type: ignore[arg-type]
                params.matrix_learning_rate,
                momentum=params.matrix_momentum,
                fixed_norm=params.matrix_fixed_norm,
            )
        )
    if others and "adamw" in (params.name, params.others if params.name == "muon" else None):
        optimisers.append(torch.optim.AdamW(others, params.learning_rate))
    elif others:
        optimisers.append(
            torch.optim.SGD(
                others,
                params.learning_rate,
                momentum=params.momentum,
                nesterov=params.momentum > 0,
            )
        )
    return optimisers


def set_rates(optimisers: list[torch.optim.Optimizer], factor: float) -> None:
    """Set every learning rate to `factor` times its peak."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * factor


def _hidden_matrices(parameters: dict[str, nn.Parameter]) -> set[str]:
    *hidden, _ = [name for name, value in parameters.items() if value.ndim >= 2] or [""]
    return {name for name in hidden if _is_matrix(parameters[name])}


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.ndim == 2 or (parameter.ndim == 4 and parameter.shape[1] > 1)


def _param_groups(
    phase: Phase,
    parameters: dict[str, nn.Parameter],
    wanted: set[str],
    learning_rate: float,
    params: OptimiserParams,
) -> list[dict[str, object]]:
    """Return torch's groups of the `wanted` parameters, two for each group of the phase: with decay and without."""
    groups = []
    for group in phase.groups:
        values = [parameters[name] for name in group.names if name in wanted]
        peak = learning_rate * group.rate
        for decay, part in (
            (params.weight_decay, [value for value in values if value.ndim in (2, 4)]),
            (0.0, [value for value in values if value.ndim not in (2, 4)]),
        ):
            if part:
                groups.append({"params": part, "lr": peak, "peak": peak, "weight_decay": decay})
    return groups
