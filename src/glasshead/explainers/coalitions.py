"""Coalitions of players and what they are worth: the game that Shapley values divide up.

The worth of a coalition S is v(S) = mean over background rows of f(x on S, background elsewhere), as in Lundberg & Lee
2017, arXiv:1705.07874 (interventional). A player is a group of columns, such as all probabilities of one subtask.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

# (m, c) features to (m, k) outputs, no randomness inside
Function = Callable[[Float[Tensor, "m c"]], Float[Tensor, "m k"]]
Groups = Sequence[Sequence[int]]

MAX_EXACT_PLAYERS = 16


def coalitions(players: int) -> Bool[np.ndarray, "s p"]:
    """Return all subsets as (2^players, players) booleans: none first, all last.

    Raises ValueError above 16 players (65,536 coalitions).
    """
    if players > MAX_EXACT_PLAYERS:
        raise ValueError(
            f"{players} players are too many to enumerate; {MAX_EXACT_PLAYERS} at most"
        )
    bits = np.arange(2**players)[:, None] >> np.arange(players)
    return (bits % 2).astype(bool)


def membership(groups: Groups, columns: int) -> Bool[np.ndarray, "p c"]:
    """Return (players, columns) booleans; ValueError unless each column belongs to exactly one player."""
    table = np.zeros((len(groups), columns), dtype=bool)
    for player, group in enumerate(groups):
        table[player, list(group)] = True
    if sum(map(len, groups)) != columns or not (table.sum(axis=0) == 1).all():
        raise ValueError(f"the groups must hold each of the {columns} columns exactly once")
    return table


def function_worths(
    function: Function,
    members: Bool[np.ndarray, "s p"],
    rows: Float[Tensor, "n c"],
    background: Float[Tensor, "b c"],
    groups: Groups,
    targets: Int[Tensor, " n"],
    batch_rows: int = 2**15,
) -> Float64[np.ndarray, "n s"]:
    """Return (n, s) what each coalition of `members` is worth to the target output of each row.

    `function` is called with at most `batch_rows` rows (or one coalition's, if those are more).
    """
    kept = torch.from_numpy(members @ membership(groups, rows.shape[1])).to(rows.device)  # (s, c)
    per_batch = max(1, batch_rows // len(background))
    worths = np.empty((len(rows), len(members)))
    for row, target, worth in zip(rows, targets.tolist(), worths, strict=True):
        for start in range(0, len(members), per_batch):
            part = kept[start : start + per_batch]
            mixed = torch.where(part[:, None, :], row, background).flatten(0, 1)  # (s * b, c)
            outputs = evaluate(function, mixed)[:, target].view(len(part), -1)
            worth[start : start + per_batch] = outputs.mean(dim=1).cpu().numpy()
    return worths


@torch.no_grad()
def evaluate(function: Function, features: Float[Tensor, "m c"]) -> Float64[Tensor, "m k"]:
    """Return the function's outputs in float64, without gradients."""
    return function(features).double()
