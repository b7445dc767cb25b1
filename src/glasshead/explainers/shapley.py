"""Shapley values of groups of features, absent groups being drawn from a background sample.

Shapley 1953; the game is that of `glasshead.explainers.coalitions`.
"""

from math import comb

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from glasshead.explainers.attribution import Attribution
from glasshead.explainers.coalitions import (
    Function,
    Groups,
    coalitions,
    evaluate,
    function_worths,
    membership,
)
from glasshead.explainers.two_layer import TwoLayer
from glasshead.seeds import numpy_seeded

HELD_WORTHS = 2**24  # 128 MB


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
        function: (m, c) to (m, k). A `TwoLayer` takes a fast path; any other is called with at most `batch_rows`
            rows (or one coalition's, if those are more).
        rows: (n, c) to explain; `targets` (n,) says which of the k outputs of each.
        background: (b, c) rows that stand in for absent players.
        groups: the columns of each player; together they must hold each column once.

    Raises ValueError above 16 players (65,536 coalitions), or if the groups do not partition the columns.
    """
    return _weighted(
        shapley_weights(len(groups)), function, rows, background, groups, targets, batch_rows
    )


def shapley_interactions(
    function: Function,
    rows: Float[Tensor, "n c"],
    background: Float[Tensor, "b c"],
    groups: Groups,
    targets: Int[Tensor, " n"],
    batch_rows: int = 2**15,
) -> Attribution:
    """Return the interactions (n, players, players) of `function(...)[:, target]`; arguments as of `exact_shapley`.

    Off the diagonal stands half the Shapley interaction index of a pair (Grabisch & Roubens 1999), as both entries
    share it; on the diagonal what is left of the player's Shapley value, so that each row adds up to that (Lundberg et
    al. 2020, Nature Machine Intelligence 2, 56-67).

    Raises ValueError above 16 players, or if the groups do not partition the columns.
    """
    return _weighted(
        interaction_weights(len(groups)), function, rows, background, groups, targets, batch_rows
    )


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
        return evaluate(function, torch.as_tensor(features, dtype=rows.dtype)).numpy()

    data = DenseData(background.numpy(), [str(player) for player in range(len(groups))], columns)
    budget = min(2 ** len(groups) - 2, max_coalitions)
    with numpy_seeded(seed):
        explainer = shap.KernelExplainer(outputs, data)
        values = explainer.shap_values(rows.numpy(), nsamples=budget, l1_reg=0, silent=True)
    chosen = np.take_along_axis(values, targets.numpy()[:, None, None], axis=2)[..., 0]
    return attribution_of(chosen, function, rows, background, targets)


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


def interaction_weights(players: int) -> Float64[np.ndarray, "s p p"]:
    """Return (2^players, players, players): worths times this are what `shapley_interactions` gives.

    The index of i and j weighs v(S + ij) - v(S + i) - v(S + j) + v(S) by |S|! (p - |S| - 2)! / (p - 1)!.
    """
    members = coalitions(players)
    weights = np.zeros((len(members), players, players))
    if players > 1:
        share = [1 / ((players - 1) * comb(players - 2, size)) for size in range(players - 1)]
        together = members[:, :, None].astype(int) + members[:, None, :]  # 0, 1 or 2 of the pair
        rest = members.sum(axis=1)[:, None, None] - together  # |S| without the pair
        weights = np.where(together == 1, -0.5, 0.5) * np.array(share)[rest.clip(0, players - 2)]
    own = np.arange(players)
    weights[:, own, own] = 0
    weights[:, own, own] = shapley_weights(players) - weights.sum(axis=2)
    return weights


def coalition_worths(
    function: Function,
    members: Bool[np.ndarray, "s p"],
    rows: Float[Tensor, "n c"],
    background: Float[Tensor, "b c"],
    groups: Groups,
    targets: Int[Tensor, " n"],
    batch_rows: int = 2**15,
) -> Float64[np.ndarray, "n s"]:
    """Return (n, s) what each coalition of `members` is worth to the target output of each row."""
    if isinstance(function, TwoLayer):
        return function.worths(members, rows, background, groups, targets)
    return function_worths(function, members, rows, background, groups, targets, batch_rows)


def _weighted(
    weights: Float64[np.ndarray, "s ..."],
    function: Function,
    rows: Float[Tensor, "n c"],
    background: Float[Tensor, "b c"],
    groups: Groups,
    targets: Int[Tensor, " n"],
    batch_rows: int,
) -> Attribution:
    """Return the weighted sums of the worths of all coalitions, for as many rows at once as memory should hold."""
    members = coalitions(len(groups))
    held = max(1, HELD_WORTHS // len(members))
    parts = [
        coalition_worths(function, members, some, background, groups, target, batch_rows)
        for some, target in zip(rows.split(held), targets.split(held), strict=True)
    ]
    values = np.concatenate([np.tensordot(worths, weights, axes=1) for worths in parts])
    return attribution_of(values, function, rows, background, targets)


def attribution_of(
    values: Float64[np.ndarray, "n ..."],
    function: Function,
    rows: Float[Tensor, "n c"],
    background: Float[Tensor, "b c"],
    targets: Int[Tensor, " n"],
) -> Attribution:
    """Return `values` with base and output computed apart from them, so that their gap is a real check."""
    targets = targets.to(rows.device)
    base = evaluate(function, background).mean(dim=0)[targets]
    output = evaluate(function, rows).gather(1, targets[:, None])[:, 0]
    return Attribution(values, base.cpu().numpy(), output.cpu().numpy())
