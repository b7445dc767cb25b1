"""Exact and estimated Shapley values of groups of features; absent groups take their values from background rows.

Shapley 1953. `glasshead.explainers.coalitions` defines the game.
"""

from dataclasses import dataclass, replace
from math import comb

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64

from glasshead.errors import ParameterError
from glasshead.explainers.attribution import Attribution
from glasshead.explainers.coalitions import Game, coalitions, evaluate, function_worths
from glasshead.explainers.two_layer import TwoLayer
from glasshead.seeds import generator, numpy_seeded

HELD_WORTHS = 2**24  # 128 MB


def exact_shapley(game: Game) -> Attribution:
    """Return the Shapley values (n, players) by enumerating all coalitions; faster for a `TwoLayer`.

    Raises ValueError above 16 players (65,536 coalitions).
    """
    return _weighted(shapley_weights(len(game.groups)), game)


def shapley_interactions(game: Game) -> Attribution:
    """Return the Shapley interactions (n, players, players) by enumerating all coalitions.

    Off the diagonal, each of a pair's two entries is half of the pair's Shapley interaction index (Grabisch & Roubens
    1999). The diagonal is chosen so that each row adds up to a Shapley value (Lundberg et al. 2020, Nature Machine
    Intelligence 2, 56-67).

    Raises ValueError above 16 players.
    """
    return _weighted(interaction_weights(len(game.groups)), game)


def kernel_shapley(game: Game, max_coalitions: int = 4096, seed: int = 0) -> Attribution:
    """Return Shapley values from `shap.KernelExplainer`, for any number of players.

    The values are exact if `max_coalitions` is at least 2^players - 2, the number of coalitions without the empty and
    the full one. Otherwise coalitions are sampled, and the values are estimates that still add up to output - base.
    """
    import shap  # its import takes seconds, and exact enumeration does not need it
    from shap.utils._legacy import DenseData  # shap has no public way to name groups of columns

    def outputs(features: Float[np.ndarray, "m c"]) -> Float64[np.ndarray, "m k"]:
        return evaluate(game.function, torch.as_tensor(features, dtype=game.rows.dtype)).numpy()

    players = [str(player) for player in range(len(game.groups))]
    columns = [np.asarray(group) for group in game.groups]
    data = DenseData(game.background.numpy(), players, columns)
    budget = min(2 ** len(players) - 2, max_coalitions)
    with numpy_seeded(seed):
        explainer = shap.KernelExplainer(outputs, data)
        values = explainer.shap_values(game.rows.numpy(), nsamples=budget, l1_reg=0, silent=True)
    chosen = np.take_along_axis(values, game.targets.numpy()[:, None, None], axis=2)[..., 0]
    return attribution_of(game, chosen)


def shapley_weights(players: int) -> Float64[np.ndarray, "s p"]:
    """Return the matrix (2^players, players) that turns worths (n, 2^players) into Shapley values (n, players).

    Player i adds v(S + i) - v(S) with weight |S|! (p - |S| - 1)! / p!, so the weight of v(S) is positive for members of
    S and negative for others.
    """
    members = coalitions(players)
    sizes = members.sum(axis=1, keepdims=True)
    # one extra entry, as np.where evaluates both branches and so also looks up the sizes -1 and p
    gain = np.array([1 / (players * comb(players - 1, size)) for size in range(players)] + [0.0])
    weights: Float64[np.ndarray, "s p"] = np.where(members, gain[sizes - 1], -gain[sizes])
    return weights


def interaction_weights(players: int) -> Float64[np.ndarray, "s p p"]:
    """Return the array (2^players, players, players) that turns worths into the result of `shapley_interactions`.

    The interaction index of i and j is the sum over S of v(S + ij) - v(S + i) - v(S + j) + v(S), weighted by |S|! (p -
    |S| - 2)! / (p - 1)!.
    """
    members = coalitions(players)
    weights = np.zeros((len(members), players, players))
    if players > 1:
        fraction = [1 / ((players - 1) * comb(players - 2, size)) for size in range(players - 1)]
        together = members[:, :, None].astype(int) + members[:, None, :]  # 0, 1 or 2 of the pair
        rest = members.sum(axis=1)[:, None, None] - together  # |S| without the pair
        weights = np.where(together == 1, -0.5, 0.5) * np.array(fraction)[rest.clip(0, players - 2)]
    own = np.arange(players)
    weights[:, own, own] = 0
    weights[:, own, own] = shapley_weights(players) - weights.sum(axis=2)
    return weights


def coalition_worths(game: Game, members: Bool[np.ndarray, "s p"]) -> Float64[np.ndarray, "n s"]:
    """Return the worth (n, s) of each coalition of `members`, in terms of each row's target output."""
    if isinstance(game.function, TwoLayer):
        return game.function.worths(game, members)
    return function_worths(game, members)


def _weighted(weights: Float64[np.ndarray, "s ..."], game: Game) -> Attribution:
    """Return the weighted sums of the worths of all coalitions, in blocks of rows that fit into memory."""
    members = coalitions(len(game.groups))
    held = max(1, HELD_WORTHS // len(members))
    worths_by_block = [
        coalition_worths(replace(game, rows=rows, targets=targets), members)
        for rows, targets in zip(game.rows.split(held), game.targets.split(held), strict=True)
    ]
    values = np.concatenate([np.tensordot(worths, weights, axes=1) for worths in worths_by_block])
    return attribution_of(game, values)


def attribution_of(game: Game, values: Float64[np.ndarray, "n ..."]) -> Attribution:
    """Return `values` with base and output from separate forward passes, so that the gap is an independent check."""
    targets = game.targets.to(game.rows.device)
    base = evaluate(game.function, game.background).mean(dim=0)[targets]
    output = evaluate(game.function, game.rows).gather(1, targets[:, None])[:, 0]
    return Attribution(values, base.cpu().numpy(), output.cpu().numpy())


@dataclass(frozen=True)
class SampledAttribution(Attribution):
    """Estimated contributions with their `standard_error` (n, players), in the output's unit."""

    standard_error: Float[np.ndarray, "n p"]


def permutation_shapley(
    game: Game, max_coalitions: int = 4096, seed: int = 0
) -> SampledAttribution:
    """Return estimates of the Shapley values (n, players), with standard errors, for any number of players.

    Players join in random orders; a player's value is the mean of what it adds when it joins. An order and its reverse
    make one sample (antithetic sampling, Mitchell et al. 2022, arXiv:2104.12199), which is exact for games with
    interactions of at most two players. All rows share the orders. Like exact values, the estimates add up to output -
    base.

    Args:
        max_coalitions: coalitions for each row. A sample takes 2 (players - 1) of them; at least two samples are
            needed.

    Raises ParameterError if `max_coalitions` is too small.
    """
    players = len(game.groups)
    samples = (max_coalitions - 2) // max(1, 2 * (players - 1))
    if samples < 2:
        raise ParameterError(
            f"explain.max_coalitions = {max_coalitions} is too small to estimate standard errors. For {players} "
            f"players, set it to at least {4 * (players - 1) + 2}."
        )
    draw = generator(seed, "shapley", "permutations")
    forward = draw.permuted(np.tile(np.arange(players), (samples, 1)), axis=1)
    orders = np.stack([forward, forward[:, ::-1]], axis=1)  # (samples, 2, players)
    # position[..., i] is the step at which player i joins; the coalition of step t holds those who joined before t
    position = np.argsort(orders, axis=-1)
    steps = position[..., None, :] < np.arange(players + 1)[:, None]  # (samples, 2, p + 1, p)
    members, index = np.unique(steps.reshape(-1, players), axis=0, return_inverse=True)
    worths = coalition_worths(game, members)[:, index.ravel()]
    gains = np.diff(worths.reshape(-1, samples, 2, players + 1), axis=-1)
    contributions = np.take_along_axis(gains, position[None], axis=-1).mean(
        axis=2
    )  # (n, samples, players)
    estimate = attribution_of(game, contributions.mean(axis=1))
    error = contributions.std(axis=1, ddof=1) / np.sqrt(samples)
    return SampledAttribution(estimate.values, estimate.base, estimate.output, error)
