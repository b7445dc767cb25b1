"""Shapley values of any number of players, estimated from random orders, with error bars."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from glasshead.errors import ParameterError
from glasshead.explainers.attribution import Attribution
from glasshead.explainers.coalitions import Game
from glasshead.explainers.shapley import attribution_of, coalition_worths
from glasshead.seeds import generator


@dataclass(frozen=True)
class SampledAttribution(Attribution):
    """Estimated contributions; `standard_error` (n, players) is theirs, in the output's unit."""

    standard_error: Float[np.ndarray, "n p"]


def permutation_shapley(
    game: Game, max_coalitions: int = 4096, seed: int = 0
) -> SampledAttribution:
    """Return estimates of the Shapley values (n, players), with standard errors, for any number of players.

    Players join in random orders, and each gets what it adds, averaged over orders; an order and its reverse are one
    sample (antithetic sampling, Mitchell et al. 2022, arXiv:2104.12199), which is exact where players interact in
    pairs at most. All rows share the orders. The estimates add up, as exact values do.

    Args:
        max_coalitions: evaluated for each row; a sample takes 2 (players - 1), and two samples are the least.

    Raises ParameterError if `max_coalitions` is too small.
    """
    players = len(game.groups)
    samples = (max_coalitions - 2) // max(1, 2 * (players - 1))
    if samples < 2:
        raise ParameterError(
            f"explain.max_coalitions of {max_coalitions} is too few for an error bar: {players} players take "
            f"{4 * (players - 1) + 2} at least."
        )
    draw = generator(seed, "shapley", "permutations")
    forward = draw.permuted(np.tile(np.arange(players), (samples, 1)), axis=1)
    orders = np.stack([forward, forward[:, ::-1]], axis=1)  # (samples, 2, players)
    # place[..., i] is when player i joins; the coalition of step t holds who joined before
    place = np.argsort(orders, axis=-1)
    steps = place[..., None, :] < np.arange(players + 1)[:, None]  # (samples, 2, p + 1, p)
    members, index = np.unique(steps.reshape(-1, players), axis=0, return_inverse=True)
    worths = coalition_worths(game, members)[:, index.ravel()]
    gains = np.diff(worths.reshape(-1, samples, 2, players + 1), axis=-1)
    each = np.take_along_axis(gains, place[None], axis=-1).mean(axis=2)  # (n, samples, players)
    estimate = attribution_of(game, each.mean(axis=1))
    error = each.std(axis=1, ddof=1) / np.sqrt(samples)
    return SampledAttribution(estimate.values, estimate.base, estimate.output, error)
