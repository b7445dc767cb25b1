"""Coalitions of Shapley players and their worth: the cooperative game behind Shapley values.

The worth of a coalition S is v(S) = mean over background rows of f(x on S, background elsewhere), as in Lundberg & Lee
2017, arXiv:1705.07874 (interventional). A player is a group of feature columns that are present or absent together,
such as all probabilities of one subtask.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

# (m, c) features to (m, k) outputs; deterministic
Function = Callable[[Float[Tensor, "m c"]], Float[Tensor, "m k"]]
Groups = Sequence[Sequence[int]]

MAX_EXACT_PLAYERS = 16
BATCH_ROWS = 2**15  # largest number of rows in one call, unless a single coalition has more


@dataclass(frozen=True)
class Game:
    """A game for each row, with groups of columns as players; ValueError unless each column has exactly one player.

    Attributes:
        function: maps features to outputs. Players share the output with the index `targets` (n,), one for each row.
        rows: (n, c) the rows to explain.
        background: (b, c) rows that stand in for absent players.
        groups: the columns of each player.
    """

    function: Function
    rows: Float[Tensor, "n c"]
    background: Float[Tensor, "b c"]
    groups: Groups
    targets: Int[Tensor, " n"]

    def __post_init__(self) -> None:
        columns = self.rows.shape[1]
        if sorted(chain.from_iterable(self.groups)) != list(range(columns)):
            raise ValueError(f"The groups must hold each of the {columns} columns exactly once.")

    @property
    def membership(self) -> Bool[np.ndarray, "p c"]:
        """Return which columns belong to which player."""
        table = np.zeros((len(self.groups), self.rows.shape[1]), dtype=bool)
        for player, group in enumerate(self.groups):
            table[player, list(group)] = True
        return table


def coalitions(players: int) -> Bool[np.ndarray, "s p"]:
    """Return all coalitions as (2^players, players) booleans: the empty one first, the full one last.

    Raises ValueError above 16 players (65,536 coalitions).
    """
    if players > MAX_EXACT_PLAYERS:
        raise ValueError(
            f"{players} players have too many coalitions to enumerate; {MAX_EXACT_PLAYERS} at most."
        )
    bits = np.arange(2**players)[:, None] >> np.arange(players)
    return (bits % 2).astype(bool)


def function_worths(game: Game, members: Bool[np.ndarray, "s p"]) -> Float64[np.ndarray, "n s"]:
    """Return the worth (n, s) of each coalition of `members` for each row. Works for any function."""
    rows, background = game.rows, game.background
    kept = torch.from_numpy(members @ game.membership).to(rows.device)  # (s, c)
    per_batch = max(1, BATCH_ROWS // len(background))
    worths = np.empty((len(rows), len(members)))
    for row, target, worth in zip(rows, game.targets.tolist(), worths, strict=True):
        for start in range(0, len(members), per_batch):
            batch = kept[start : start + per_batch]
            mixed = torch.where(batch[:, None, :], row, background).flatten(0, 1)  # (s * b, c)
            outputs = evaluate(game.function, mixed)[:, target].view(len(batch), -1)
            worth[start : start + per_batch] = outputs.mean(dim=1).cpu().numpy()
    return worths


@torch.no_grad()
def evaluate(function: Function, features: Float[Tensor, "m c"]) -> Float64[Tensor, "m k"]:
    """Return the function's outputs in float64, without gradients."""
    return function(features).double()
