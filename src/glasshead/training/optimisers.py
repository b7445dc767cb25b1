"""The optimisers of a training, their parameter groups, and the schedule of their learning rates."""

import math
from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import BaseModel, Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from glasshead.training.phases import Phase


class OptimiserParams(BaseModel, extra="forbid", frozen=True):
    """The optimiser of a training; `matrix_…` and `others` are settings of Muon alone."""

    name: Literal["sgd", "adamw", "muon"] = "sgd"
    learning_rate: PositiveFloat = 0.05
    momentum: float = Field(default=0.9, ge=0, lt=1)  # of SGD; Nesterov's if above 0
    weight_decay: NonNegativeFloat = 5e-4
    matrix_learning_rate: PositiveFloat = 0.02
    matrix_momentum: float = Field(default=0.95, ge=0, lt=1)
    matrix_fixed_norm: bool = False
    others: Literal["sgd", "adamw"] = "sgd"  # for parameters that Muon does not train


def build_optimisers(
    model: nn.Module, phase: Phase, params: OptimiserParams
) -> list[torch.optim.Optimizer]:
    """Return the optimisers that together train the parameters of `phase`.

    Muon trains matrices and filters of convolutions, but not depthwise filters, which are vectors, nor the head, the
    last matrix (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/). Weight decay acts only on matrices and
    filters, as an L2 penalty in SGD and decoupled in the others.
    """
    parameters = dict(model.named_parameters())
    hidden = _hidden_matrices(parameters) if params.name == "muon" else set()
    matrices = _param_groups(phase, parameters, hidden, params.matrix_learning_rate, params)
    rest = _param_groups(phase, parameters, set(parameters) - hidden, params.learning_rate, params)
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
    if rest and "adamw" in (params.name, params.others if params.name == "muon" else None):
        optimisers.append(torch.optim.AdamW(rest, params.learning_rate))
    elif rest:
        optimisers.append(
            torch.optim.SGD(
                rest, params.learning_rate, momentum=params.momentum, nesterov=params.momentum > 0
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
    """Return torch's groups of the `wanted` parameters: with and without decay for each group of the phase."""
    groups = []
    for group in phase.groups:
        values = [parameters[name] for name in group.names if name in wanted]
        peak = learning_rate * group.rate
        for decay, chosen in (
            (params.weight_decay, [value for value in values if value.ndim in (2, 4)]),
            (0.0, [value for value in values if value.ndim not in (2, 4)]),
        ):
            if chosen:
                groups.append({"params": chosen, "lr": peak, "peak": peak, "weight_decay": decay})
    return groups


COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrix: Float[Tensor, "m n"], steps: int = 5) -> Float[Tensor, "m n"]:
    """Return roughly U Vᵀ of matrix = U S Vᵀ: singular values end near 1 (within about 0.7 and 1.2)."""
    a, b, c = COEFFICIENTS
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = wide / (wide.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose update is orthogonalised, for matrices `(m, n)` of hidden layers alone.

    A filter of a convolution, `(m, c, h, w)`, is the matrix `(m, c · h · w)`. With `fixed_norm`, matrices keep the
    Frobenius norm √m, that of m orthonormal rows. If a normalisation layer follows a matrix, the matrix's scale
    changes no output, and with a fixed scale, a learning rate does not lose effect as weights grow (Jordan 2024,
    airbench94_muon).

    Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/. torch.optim.Muon runs its Newton–Schulz iteration in
    bfloat16, which is some hundred times slower than float32 on CPUs without bfloat16 units; this one stays in the
    parameter's dtype.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        fixed_norm: bool = False,
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(parameters, defaults | {"fixed_norm": fixed_norm})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # takes no closure
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                buffer = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                matrix = parameter.grad.lerp(buffer, group["momentum"]).flatten(1)
                update = orthogonalise(matrix).reshape(parameter.shape)
                scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
                if group["fixed_norm"]:
                    parameter.mul_(matrix.shape[0] ** 0.5 / parameter.norm())
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-group["lr"] * scale)


START, END = 1 / 25, 1 / 25e4  # of one_cycle, as fractions of the peak; PyTorch's defaults


class ScheduleParams(BaseModel, extra="forbid", frozen=True):
    """The course of the learning rate over one phase."""

    name: Literal["cosine", "one_cycle", "triangular", "constant"] = "cosine"
    warmup_fraction: float = Field(
        default=0.1, ge=0, le=1, description="fraction of the steps in which the rate rises"
    )


def rate_factor(params: ScheduleParams, step: int, steps: int) -> float:
    """Return the factor in [0, 1] on the peak learning rate at `step`, counted from 0, of `steps`.

    All but one_cycle rise linearly, so that the first step after the rise has factor 1. Then `cosine` (Loshchilov &
    Hutter 2017, arXiv:1608.03983, without restarts) and `triangular` fall towards 0; `constant` stays 1. `one_cycle`
    (Smith & Topin 2019, arXiv:1708.07120) rises from 1/25 and falls to 1/250,000 along cosines, as PyTorch's OneCycleLR
    does, but does not change the momentum.
    """
    if params.name == "one_cycle":
        return _one_cycle(step, params.warmup_fraction * steps - 1, steps - 1)
    rise = round(params.warmup_fraction * steps)
    if step < rise:
        return (step + 1) / (rise + 1)
    fallen = (step - rise) / (steps - rise)
    if params.name == "triangular":
        return 1 - fallen
    return (1 + math.cos(math.pi * fallen)) / 2 if params.name == "cosine" else 1.0


def _one_cycle(step: int, peak: float, last: int) -> float:
    """Return the factor at `step`, where the rise ends at step `peak` and the fall at step `last`."""
    if step < peak:
        return _along_cosine(START, 1.0, step / peak)
    return _along_cosine(1.0, END, (step - peak) / (last - peak)) if last > max(peak, 0) else 1.0


def _along_cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * fraction))
