"""Figures of what concepts add to decisions (by image, overall, and in pairs), and of concepts set by hand.

`shapley` holds the arrays of `explain_concepts`; its rows are in the order of `examples`.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from glasshead.explainers.coalitions import MAX_EXACT_PLAYERS
from glasshead.reporting.figures import SteadyLayout, message_figure, new_figure, plain
from glasshead.reporting.panels import (
    AGAINST,
    FOR,
    Arrays,
    likeliest_value,
    panels,
    plot_concept_bars,
    plot_image,
    verdict,
)
from glasshead.reporting.shap_plots import shap_plots, turn_short_arrows

if TYPE_CHECKING:
    from shap import Explanation

NO_INTERACTIONS = (
    "Interactions of concepts need all coalitions: the exact engine, and "
    f"{MAX_EXACT_PLAYERS} players at most."
)
DISPLAYED = 16  # players shown; shap.plots sums the others
Measures = Mapping[str, Mapping[str, Any]]
GREEN = "#009E73"  # green of Okabe and Ito's colour-blind safe palette
CURVES = {
    "intervention/uncertainty": (FOR, "o", "the most uncertain first"),
    "intervention/random": (AGAINST, "s", "in random order"),
}


def plot_shapley_images(examples: pd.DataFrame, example_images: Arrays, shapley: Arrays) -> Figure:
    """Return a panel for each shown image: what each concept added to the output for the predicted class."""
    players = len(shapley["players"])
    shown, unit = np.flatnonzero(examples["shown"]), _unit(shapley)
    figure, cells, foot = panels(len(shown), width=4.6, height=0.8 + 0.19 * min(players, DISPLAYED))
    figure.suptitle(f"What each concept adds to the {unit} of the predicted class", fontsize=14)
    limit = max(float(np.abs(shapley["values"][shown]).max(initial=0)), 0.01)
    for index, cell, example in zip(shown, cells, examples.iloc[shown].itertuples(), strict=False):
        picture, bars = cell.subplots(1, 2, width_ratios=(1, 1.8))
        plot_image(picture, example_images["pixels"][index])
        base, output = shapley["base"][index], shapley["output"][index]
        picture.set_xlabel(f"{plain(example.predicted)}:\n{base:z.2f} → {output:z.2f}", fontsize=9)
        plot_concept_bars(bars, shapley, int(index), limit, DISPLAYED)
        cell.suptitle(verdict(example), fontsize=10)
    estimated = " (estimates with 95 % error bars)" if "standard_error" in shapley else ""
    foot.suptitle(
        f"Shapley values{estimated} in {unit}{_largest(shapley)}, all on one scale: blue speaks for the predicted "
        "class, vermillion against it.\nBeside each concept: its likeliest value and the raw probability that the "
        f"meta-learner reads. Under each image: the step that\nall concepts add up to, from the class's "
        f"average {unit} over background images to that of this image.",
        fontsize=9,
    )
    return figure


def plot_shapley_global(shapley: Arrays) -> Figure:
    """Return the mean absolute Shapley value of each player over the explained images."""
    figure = _figure(shapley)
    axes = figure.subplots()
    with shap_plots(figure) as plots:
        plots.bar(_explanation(shapley), max_display=DISPLAYED, ax=axes, show=False)
    axes.set_title(f"Which concepts decide ({len(shapley['values'])} explained images)")
    axes.set_xlabel(f"mean |Shapley value|: change in the {_unit(shapley)} of the predicted class")
    return figure


def plot_shapley_beeswarm(shapley: Arrays) -> Figure:
    """Return each player's Shapley values, one dot an image, coloured by the probability of the likeliest value."""
    figure = _figure(shapley)
    axes = figure.subplots()
    single = len(shapley["players"]) == len(shapley["concept_value"])
    what = "its value" if single else "its likeliest value"
    with shap_plots(figure) as plots:
        plots.beeswarm(
            _explanation(shapley), max_display=DISPLAYED, group_remaining_features=False,
            ax=axes, plot_size=None, show=False,
            color="cividis", color_bar_label=f"probability of {what}, each concept on its own scale",
        )  # fmt: skip
    axes.set_title(
        f"What each concept adds{_largest(shapley)}: a dot an explained image ({len(shapley['values'])})"
    )
    axes.set_xlabel(f"Shapley value: change in the {_unit(shapley)} of the predicted class")
    return figure


def plot_shapley_mistake(examples: pd.DataFrame, shapley: Arrays) -> Figure:
    """Return how concepts lead from the average output to the output for the most confident mistake shown."""
    wrong = _by_confidence(examples, examples["shown"] & ~examples["correct"])
    if not len(wrong):
        return message_figure("None of the shown images is a mistake.")
    return _waterfall(examples, shapley, wrong[-1], "Most confident mistake shown")


def plot_shapley_right(examples: pd.DataFrame, shapley: Arrays) -> Figure:
    """Return how concepts lead from the average output to the output for a correct image of median confidence."""
    right = _by_confidence(examples, examples["shown"] & examples["correct"])
    if not len(right):
        return message_figure("None of the shown images is classified correctly.")
    return _waterfall(examples, shapley, right[(len(right) - 1) // 2], "Typical right one")


def plot_interactions(shapley: Arrays) -> Figure:
    """Return a heat map of the mean absolute interaction of each pair of players; the diagonal is left out."""
    if "interactions" not in shapley:
        return message_figure(NO_INTERACTIONS)
    # each of a pair's two entries holds half of its interaction
    strength: Float[np.ndarray, "p p"] = 2 * np.abs(shapley["interactions"]).mean(axis=0)
    np.fill_diagonal(strength, np.nan)
    names, unit = [plain(name) for name in shapley["players"]], _unit(shapley)
    side = 3.5 + 0.45 * len(names)
    figure = new_figure(side + 1, side)
    axes = figure.subplots()
    drawn = axes.imshow(strength, cmap="cividis", vmin=0)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    middle = np.nanmax(strength, initial=0) / 2
    for (row, column), value in np.ndenumerate(strength):
        if row != column:
            colour = "black" if value > middle else "white"
            axes.text(column, row, f"{value:.3f}", ha="center", va="center", color=colour, fontsize=8)  # fmt: skip
    axes.set_title(f"Which concepts decide together ({len(shapley['values'])} explained images)")
    bar = figure.colorbar(drawn, shrink=0.8)
    bar.set_label(f"mean |Shapley interaction| in {unit} of the predicted class")
    return figure


def _by_confidence(examples: pd.DataFrame, chosen: pd.Series) -> list[int]:
    """Return the indices of the `chosen` rows, the least confident first."""
    order = examples["confidence"].to_numpy().argsort(kind="stable")
    return order[chosen.to_numpy(dtype=bool)[order]].tolist()


def _waterfall(examples: pd.DataFrame, shapley: Arrays, row: int, title: str) -> Figure:
    figure = _figure(shapley)
    with shap_plots(figure) as plots:
        plots.waterfall(_explanation(shapley, row), max_display=DISPLAYED, show=False)
    turn_short_arrows(figure.axes[0])
    # leaves room for the label f(x), which shap shifts to the right
    figure.set_layout_engine(SteadyLayout(rect=(0, 0, 0.97, 1)))
    example = examples.iloc[row]
    figure.suptitle(f"{title}: {verdict(example)}")
    figure.supxlabel(
        f"{_unit(shapley)} f of {plain(example.predicted)}: from its average over background images to this image",
        fontsize=11,
    )
    return figure


def _figure(shapley: Arrays) -> Figure:
    players = min(DISPLAYED, len(shapley["players"]))
    return new_figure(9, 1.8 + 0.42 * players)


def _explanation(shapley: Arrays, row: int | None = None) -> "Explanation":
    """Return what shap plots: all images, or only `row`, whose players are labelled with their likeliest values."""
    from shap import Explanation  # its import takes seconds

    players = range(len(shapley["players"]))
    if row is not None:
        return Explanation(
            shapley["values"][row],
            float(shapley["base"][row]),
            feature_names=[likeliest_value(shapley, row, player) for player in players],
        )
    concepts_of_players = [
        shapley["concepts"][:, shapley["concept_player"] == player] for player in players
    ]
    return Explanation(
        shapley["values"],
        shapley["base"],
        data=np.stack([probabilities.max(axis=1) for probabilities in concepts_of_players], axis=1),
        feature_names=[plain(name) for name in shapley["players"]],
    )


def _largest(shapley: Arrays) -> str:
    """Return in words which players are shown; nothing if all are shown."""
    players = len(shapley["players"])
    return f", the {DISPLAYED} largest of {players}" if players > DISPLAYED else ""


def _unit(shapley: Arrays) -> str:
    return str(shapley["unit"])


def plot_interventions(interventions: Measures) -> Figure:
    """Return test accuracy against the number of corrected concepts, and of known concepts."""
    figure = new_figure(13, 5.2)
    corrected, known = figure.subplots(1, 2)
    for name, (colour, marker, label) in CURVES.items():
        _plot_curve(corrected, _steps(interventions, name), colour, marker, label)
    corrected.set(
        xlabel="number of concepts set to their true answer", ylabel="accuracy on the test split",
        title="Correcting concepts",
    )  # fmt: skip
    corrected.xaxis.set_major_locator(MaxNLocator(integer=True))
    corrected.legend(loc="lower right", frameon=False)
    steps = _steps(interventions, "known_concepts")
    _plot_curve(known, steps, GREEN, "^", "")
    names = ["none", *(f"+ {plain(added)}" for added in steps["added"].iloc[1:])]
    known.set_xticks(range(len(steps)), names, rotation=45, ha="right")
    known.set(
        xlabel="concepts known, others at their mean over train; by mean |Shapley value|",
        ylabel="accuracy on the test split",
        title="Knowing only some concepts",
    )
    figure.suptitle(
        f"Concepts set by hand ({steps['n'].iloc[0]} test images; bands: 95 % bootstrap intervals)"
    )
    return figure


def _steps(interventions: Measures, name: str) -> pd.DataFrame:
    """Return a row for each of the measures `<name>/00`, `<name>/01`, … in this order."""
    steps = [key for key in interventions if re.fullmatch(rf"{re.escape(name)}/\d+", key)]
    return pd.DataFrame(
        [interventions[key] for key in sorted(steps, key=lambda key: (len(key), key))]
    )


def _plot_curve(axes: Axes, steps: pd.DataFrame, colour: str, marker: str, label: str) -> None:
    value, low, high = (steps[bound].astype(float) for bound in ("value", "low", "high"))
    axes.fill_between(steps.index, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(steps.index, value, color=colour, marker=marker, markersize=4, label=label)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
