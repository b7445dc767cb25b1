"""Figures of what happens when concepts are set by hand."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from glasshead.reporting.figures import new_figure, plain
from glasshead.reporting.panels import AGAINST, FOR

Measures = Mapping[str, Mapping[str, Any]]
GREEN = "#009E73"  # Okabe and Ito's
CURVES = {
    "intervention/uncertainty": (FOR, "o", "the most uncertain first"),
    "intervention/random": (AGAINST, "s", "in random order"),
}


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
    names = ["none", *(f"+ {plain(step['added'])}" for step in steps[1:])]
    known.set_xticks(range(len(steps)), names, rotation=45, ha="right")
    known.set(
        xlabel="concepts known, others at their mean over train; by mean |Shapley value|",
        ylabel="accuracy on the test split",
        title="Knowing only some concepts",
    )
    n = steps[0]["n"]
    figure.suptitle(f"Concepts set by hand ({n} test images; bands: 95 % bootstrap intervals)")
    return figure


def _steps(interventions: Measures, name: str) -> list[Mapping[str, Any]]:
    """Return the measures `<name>/00`, `<name>/01`, … in this order."""
    counts = sorted(int(key.rsplit("/", 1)[1]) for key in interventions if _is_step(key, name))
    return [interventions[f"{name}/{count:02d}"] for count in counts]


def _is_step(key: str, name: str) -> bool:
    return key.startswith(f"{name}/") and key.rsplit("/", 1)[1].isdigit()


def _plot_curve(
    axes: Axes, steps: list[Mapping[str, Any]], colour: str, marker: str, label: str
) -> None:
    counts = range(len(steps))
    value, low, high = (
        [_number(step[bound]) for step in steps] for bound in ("value", "low", "high")
    )
    axes.fill_between(counts, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(counts, value, color=colour, marker=marker, markersize=4, label=label)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
