"""Shapley values of groups of features, absent groups being drawn from a background sample.

The value of a coalition S is v(S) = mean over background rows of f(x on S, background elsewhere), as in Lundberg & Lee
2017, arXiv:1705.07874 (interventional). A player is a group of columns, such as all probabilities of one subtask.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import comb

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from glasshead.explainers.attribution import Attribution

# (m, c) features to (m, k) outputs, no randomness inside
Function = Callable[[Float[Tensor, "m c"]], Float[Tensor, "m k"]]
Groups = Sequence[Sequence[int]]

MAX_EXACT_PLAYERS = 16


def exact_shapley(
    function: Function,
    rows: Float[Tensor, "n c"],
    background: Float[Tensor, "b c"],
    groups: Groups,
    targets: Int[Tensor, " n"],
    batch_rows: int = 2**15,
) -> Attribution:
    """Return the Shapley values (n, players) of `function(...)[:, target]`, by enumeration of all coalitions.

    Args:
        function: (m, c) to (m, k); called with at most `batch_rows` rows (or one coalition's, if those are more).
        rows: (n, c) to explain; `targets` (n,) says which of the k outputs of each.
        background: (b, c) rows that stand in for absent players.
        groups: the columns of each player; together they must hold each column once.

    Raises ValueError above 16 players (65,536 coalitions), or if the groups do not partition the columns.
    """
    if len(groups) > MAX_EXACT_PLAYERS:
        raise ValueError(
            f"{len(groups)} players are too many to enumerate; {MAX_EXACT_PLAYERS} at most"
        )
    members = coalitions(len(groups))
    kept = torch.from_numpy(members @ membership(groups, rows.shape[1]))  # (2^p, c)
    per_batch = max(1, batch_rows // len(background))
    worth = np.empty((len(rows), len(members)))
    for row, target, row_worth in zip(rows, targets.tolist(), worth, strict=True):
        for start in range(0, len(members), per_batch):
            part = kept[start : start + per_batch]
            mixed = torch.where(part[:, None, :], row, background).flatten(0, 1)  # (s * b, c)
            outputs = _evaluate(function, mixed)[:, target].view(len(part), -1)
            row_worth[start : start + per_batch] = outputs.mean(dim=1).numpy()
    return _attribution(worth @ shapley_weights(len(groups)), function, rows, background, targets)


def kernel_shapley(
    function: Function,
    rows: Float[Tensor, "n c"],
    background: Float[Tensor, "b c"],
    groups: Groups,
    targets: Int[Tensor, " n"],
    max_coalitions: int = 4096,
    seed: int = 0,
) -> Attribution:
    """Return the same as `exact_shapley` from `shap.KernelExplainer`, any number of players.

    It is exact, without sampling, where all 2^players - 2 proper coalitions fit into `max_coalitions`. Otherwise
    coalitions are sampled under `seed`, and the values are estimates that still add up.
    """
    import shap  # takes seconds, and exact enumeration does without it
    from shap.utils._legacy import DenseData  # shap has no public way to name groups of columns

    columns = [np.asarray(group) for group in groups]
    membership(groups, rows.shape[1])

    def outputs(features: Float[np.ndarray, "m c"]) -> Float64[np.ndarray, "m k"]:
        return _evaluate(function, torch.as_tensor(features, dtype=rows.dtype)).numpy()

    data = DenseData(background.numpy(), [str(player) for player in range(len(groups))], columns)
    budget = min(2 ** len(groups) - 2, max_coalitions)
    with _numpy_seeded(seed):
        explainer = shap.KernelExplainer(outputs, data)
        values = explainer.shap_values(rows.numpy(), nsamples=budget, l1_reg=0, silent=True)
    chosen = np.take_along_axis(values, targets.numpy()[:, None, None], axis=2)[..., 0]
    return _attribution(chosen, function, rows, background, targets)


def coalitions(players: int) -> Bool[np.ndarray, "s p"]:
    """Return all subsets as (2^players, players) booleans: none first, all last."""
    bits = np.arange(2**players)[:, None] >> np.arange(players)
    return (bits % 2).astype(bool)


def shapley_weights(players: int) -> Float64[np.ndarray, "s p"]:
    """Return (2^players, players): coalition worths (n, 2^players) times this are Shapley values (n, players).

    Player i gains v(S + i) - v(S) with weight |S|! (p - |S| - 1)! / p!, so v(S) counts for members and against others.
    """
    members = coalitions(players)
    sizes = members.sum(axis=1, keepdims=True)
    # one entry more, for the sizes -1 and p that the branch not taken looks up
    gain = np.array([1 / (players * comb(players - 1, size)) for size in range(players)] + [0.0])
    weights: Float64[np.ndarray, "s p"] = np.where(members, gain[sizes - 1], -gain[sizes])
    return weights


def membership(groups: Groups, columns: int) -> Bool[np.ndarray, "p c"]:
    """Return (players, columns) booleans; ValueError unless each column belongs to exactly one player."""
    table = np.zeros((len(groups), columns), dtype=bool)
    for player, group in enumerate(groups):
        table[player, list(group)] = True
    if sum(map(len, groups)) != columns or not (table.sum(axis=0) == 1).all():
        raise ValueError(f"the groups must hold each of the {columns} columns exactly once")
    return table


@torch.no_grad()
def _evaluate(function: Function, features: Float[Tensor, "m c"]) -> Float64[Tensor, "m k"]:
    return function(features).double()


def _attribution(
    values: Float64[np.ndarray, "n p"],
    function: Function,
    rows: Float[Tensor, "n c"],
    background: Float[Tensor, "b c"],
    targets: Int[Tensor, " n"],
) -> Attribution:
    """Return `values` with base and output computed apart from them, so that their gap is a real check."""
    base = _evaluate(function, background).mean(dim=0)[targets]
    output = _evaluate(function, rows).gather(1, targets[:, None])[:, 0]
    return Attribution(values, base.numpy(), output.numpy())


@contextmanager
def _numpy_seeded(seed: int) -> Iterator[None]:
    """Seed NumPy's global generator, which shap draws from, and put its state back afterwards."""
    state = np.random.get_state()
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        np.random.set_state(state)
