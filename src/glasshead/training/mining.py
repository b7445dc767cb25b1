"""Hard-example mining: train rows of the most confused classes are sampled more often."""

import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, Field, PositiveInt
from torch import Tensor


class MiningParams(BaseModel, extra="forbid", frozen=True):
    """How hard examples are mined, by the confusion matrix of the last validation."""

    pairs: PositiveInt = Field(default=3, description="pairs of classes, the most confused first")
    weight: float = Field(
        default=2.0, gt=1, description="sampling weight of these classes; others have 1"
    )


def confused_pairs(confusion: Int[Tensor, "k k"], count: int) -> list[tuple[int, int]]:
    """Return up to `count` pairs (i, j), i < j, by falling rate of confusion; pairs never confused are left out.

    The rate is the fraction of rows of class i predicted as j, plus the fraction of rows of j predicted as i;
    `confusion[i, j]` counts rows of class i predicted as j.
    """
    rates = confusion.double() / confusion.sum(dim=1, keepdim=True).clamp(min=1)
    first, second = torch.triu_indices(len(rates), len(rates), offset=1)
    both = rates[first, second] + rates[second, first]
    order = both.argsort(descending=True, stable=True)[:count]
    return [(int(first[k]), int(second[k])) for k in order if both[k] > 0]


def sampling_weights(
    labels: Int[Tensor, " n"], confusion: Int[Tensor, "k k"], params: MiningParams
) -> Float[Tensor, " n"]:
    """Return each row's weight: `params.weight` where its class is in a confused pair, else 1."""
    weights = torch.ones(len(confusion), dtype=torch.float64)
    for pair in confused_pairs(confusion, params.pairs):
        weights[list(pair)] = params.weight
    return weights[labels]


def draw_rows(weights: Float[Tensor, " n"], generator: torch.Generator) -> Int[Tensor, " n"]:
    """Return n row indices in random order: a row of weight w occurs n · w / Σ w times, rounded up or down.

    Systematic resampling (Kitagawa 1996, doi:10.2307/1390750) of the rows in random order. With equal weights, the
    result is a permutation.
    """
    n = len(weights)
    order = torch.randperm(n, generator=generator)
    expected = weights[order].double() * (n / weights.double().sum())
    offset = torch.rand((), generator=generator, dtype=torch.float64)
    ends = (expected.cumsum(dim=0) + offset).floor().long()
    ends[-1] = n  # whatever the rounding of the sum
    counts = ends.diff(prepend=torch.zeros(1, dtype=torch.long))
    rows = order.repeat_interleave(counts)
    return rows[torch.randperm(n, generator=generator)]


def draw_order(
    labels: Int[Tensor, " n"],
    seed: int,
    mining: MiningParams | None,
    confusion: list[list[int]] | None,
) -> Int[Tensor, " n"]:
    """Return the row indices in the order in which the epoch visits them.

    With `mining` and a `confusion` matrix, rows of confused classes come more often; else, each row comes once.
    """
    generator = torch.Generator().manual_seed(seed)
    if mining is None or confusion is None:
        return torch.randperm(len(labels), generator=generator)
    return draw_rows(sampling_weights(labels, torch.tensor(confusion), mining), generator)
