"""Fast worths of coalitions for a two-layer network, such as a bottleneck's meta-learner.

The input of a hidden unit is a sum over Shapley players; each player's term comes from the row if the player is
present, else from a background row. Both terms are computed once for each player and then added up for each coalition,
so no mixed rows are built. For logits, the average over background rows is taken before the last layer, which is then
applied once for each coalition instead of once for each background row.
"""

import inspect
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor, nn

from glasshead.device import torch_threads
from glasshead.explainers.coalitions import Game, Groups

HELD = {"cpu": 2**19, "cuda": 2**28}  # hidden values at once: a core's cache; 1 GB
SUMS = {"cpu": 2**23, "cuda": 2**28}  # players' terms from the rows in memory at once: 32 MB; 1 GB
ROWS = 512  # rows whose hidden values are in memory at once, for one block of coalitions


@dataclass(frozen=True, eq=False)
class TwoLayer:
    """Linear, ReLU, linear: (m, c) features to (m, k) logits or, with a temperature, probabilities.

    temperature: T > 0 in softmax(logits / T); None for raw logits.
    """

    first: nn.Linear
    second: nn.Linear
    temperature: float | None = None

    def __call__(self, features: Float[Tensor, "m c"]) -> Float[Tensor, "m k"]:
        """Return logits or probabilities by an ordinary forward pass."""
        logits: Tensor = self.second(self.first(features).relu())
        return logits if self.temperature is None else (logits / self.temperature).softmax(dim=1)

    def worths(self, game: Game, members: Bool[np.ndarray, "s p"]) -> Float64[np.ndarray, "n s"]:
        """Return the worths (n, s) as `function_worths` does, up to rounding.

        On a CPU, blocks of coalitions are spread over torch's threads; the number of threads does not change the
        result.
        """
        rows, targets = game.rows, game.targets.to(game.rows.device)
        joined = torch.from_numpy(members).to(rows)
        background = self._parts(game.background, game.groups)
        units, kind = self.first.out_features, rows.device.type
        held = HELD[kind] // (len(game.background) * units)
        per_block = max(1, min(held, SUMS[kind] // (min(len(rows), ROWS) * units)))
        worths = np.empty((len(rows), len(members)))

        def fill(chunk: slice, own: Float[Tensor, "p n h"], start: int) -> None:
            block = slice(start, start + per_block)
            values = self._block(joined[block], own, background, targets[chunk])
            worths[chunk, block] = values.T.cpu().numpy()

        if kind == "cpu" and self.temperature is None:
            _compiled()  # compile once, before several threads ask for it
        with torch_threads(1) as threads:
            for first in range(0, len(rows), ROWS):
                chunk = slice(first, first + ROWS)
                own = self._parts(rows[chunk], game.groups)
                with ThreadPoolExecutor(threads if rows.device.type == "cpu" else 1) as pool:
                    list(pool.map(partial(fill, chunk, own), range(0, len(members), per_block)))
        return worths

    @torch.no_grad()
    def _block(
        self,
        joined: Float[Tensor, "s p"],
        own: Float[Tensor, "p n h"],
        background: Float[Tensor, "p b h"],
        targets: Int[Tensor, " n"],
    ) -> Float64[Tensor, "s n"]:
        """Return the worths of the coalitions `joined`, from the players' terms in the inputs of hidden units."""
        present = torch.tensordot(joined, own, dims=1)
        absent = torch.tensordot(1 - joined, background, dims=1) + self.first.bias
        if self.temperature is None:
            return self._mean_logits(present, absent, targets)
        return self._mean_probabilities(present, absent, targets, self.temperature)

    @torch.no_grad()
    def _parts(self, features: Float[Tensor, "m c"], groups: Groups) -> Float[Tensor, "p m h"]:
        """Return the term that each player adds to the inputs of the hidden units."""
        weight = self.first.weight
        return torch.stack([features[:, list(g)] @ weight[:, list(g)].T for g in groups])

    def _mean_logits(
        self,
        present: Float[Tensor, "s n h"],
        absent: Float[Tensor, "s b h"],
        targets: Int[Tensor, " n"],
    ) -> Float64[Tensor, "s n"]:
        """Return the target logit, averaged over the background inside the last layer."""
        hidden = mean_relu(present, absent).double()
        weight, bias = self.second.weight.double()[targets], self.second.bias.double()[targets]
        return torch.einsum("snh,nh->sn", hidden, weight) + bias

    def _mean_probabilities(
        self,
        present: Float[Tensor, "s n h"],
        absent: Float[Tensor, "s b h"],
        targets: Int[Tensor, " n"],
        temperature: float,
    ) -> Float64[Tensor, "s n"]:
        """Return the target probability, averaged over the background.

        As relu(x + a) = max(x, -a) + a, the last layer is applied to each background term a once, for all rows.
        """
        s, b, h = absent.shape
        weight, bias = self.second.weight / temperature, self.second.bias / temperature
        offset = (weight @ absent.flatten(0, 1).T + bias[:, None]).view(-1, 1, s, b)  # (k, 1, s, b)
        negative = -absent
        held = present.new_empty(max(1, HELD[present.device.type] // absent.numel()), s, b, h)
        means = []
        for start in range(0, present.shape[1], len(held)):
            rows = present[:, start : start + len(held)].transpose(0, 1)  # (r, s, h)
            hidden = torch.maximum(rows[:, :, None], negative, out=held[: len(rows)])
            logits = (weight @ hidden.flatten(0, 2).T).view(-1, len(rows), s, b) + offset
            target = targets[start : start + len(rows)].view(1, -1, 1, 1).expand(1, -1, s, b)
            odds = logits.sub_(logits.gather(0, target)).exp_().sum(dim=0)  # against the target
            means.append((1 / odds.double()).mean(dim=2))
        return torch.cat(means).T


def as_two_layer(network: nn.Module, temperature: float | None = None) -> TwoLayer | None:
    """Return `network` as a TwoLayer, or None if it is not a Sequential of Linear, ReLU, Linear with biases."""
    match list(network) if isinstance(network, nn.Sequential) else []:
        case [nn.Linear() as first, nn.ReLU(), nn.Linear() as second]:
            biased = first.bias is not None and second.bias is not None
            return TwoLayer(first, second, temperature) if biased else None
    return None


def mean_relu(
    present: Float[Tensor, "s n h"], absent: Float[Tensor, "s b h"]
) -> Float[Tensor, "s n h"]:
    """Return the mean over b of relu(present + absent), compiled on a CPU, by `mean_relu_by_search` elsewhere."""
    if present.device.type != "cpu":
        return mean_relu_by_search(present, absent)
    mean = torch.zeros_like(present)
    _compiled()(present.contiguous().numpy(), absent.contiguous().numpy(), mean.numpy())
    return mean


def mean_relu_by_search(
    present: Float[Tensor, "s n h"], absent: Float[Tensor, "s b h"]
) -> Float[Tensor, "s n h"]:
    """Return the mean over b of relu(present + absent), in time that hardly depends on b.

    The sum over b is piecewise linear in `present`: the sum of the values in `absent` above -present, plus `present`
    times their number. A binary search in the sorted values finds both, from their cumulative sums from the end.
    """
    s, b, h = absent.shape
    ascending = absent.transpose(1, 2).contiguous().sort(dim=2).values  # (s, h, b)
    from_here = ascending.flip(2).cumsum(2, dtype=torch.float64).flip(2).to(absent.dtype)
    from_here = torch.cat([from_here, from_here.new_zeros(s, h, 1)], dim=2)
    x = present.transpose(1, 2).contiguous()  # (s, h, n)
    index = torch.searchsorted(ascending, -x)
    return ((from_here.gather(2, index) + (b - index) * x) / b).transpose(1, 2)


def _add_mean_relu(
    present: Float[np.ndarray, "s n h"],
    absent: Float[np.ndarray, "s b h"],
    mean: Float[np.ndarray, "s n h"],
) -> None:
    """Add to `mean` the mean over b of max(present + absent, 0)."""
    s, n, h = present.shape
    b = absent.shape[1]
    zero = present.dtype.type(0)
    fraction = present.dtype.type(1 / b)
    for coalition in range(s):
        for row in range(n):
            for other in range(b):
                for unit in range(h):
                    total = present[coalition, row, unit] + absent[coalition, other, unit]
                    mean[coalition, row, unit] += fraction * total if total > zero else zero


@cache
def _compiled() -> Any:
    """Return `_add_mean_relu` compiled, without the GIL."""
    import numba  # its import takes a second

    return numba.njit(nogil=True)(inspect.unwrap(_add_mean_relu))
