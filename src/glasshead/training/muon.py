"""Muon: momentum, orthogonalised. Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/.

torch.optim.Muon runs its Newton–Schulz iteration in bfloat16, which is some hundred times slower than float32 on CPUs
without bfloat16 units; this one stays in the parameter's dtype.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

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

    A filter of a convolution, `(m, c, h, w)`, is the matrix `(m, c · h · w)`.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
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
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-group["lr"] * scale)
