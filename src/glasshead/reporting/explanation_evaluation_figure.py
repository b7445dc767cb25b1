"""The evaluation of explanation methods as a table of methods and measures, beside the baselines."""

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from glasshead.explainers.measures import Measure
from glasshead.explainers.methods import real_methods
from glasshead.explainers.randomisation import MAX_SIMILARITY, SanityCheck, sanity_check
from glasshead.reporting.figures import new_figure

COLUMNS = {
    "pointing_game": "pointing\ngame",
    "relevance_mass_accuracy": "mass in\nmask",
    "iou": "IoU",
    "mass_on_mark": "mass on\nmark",
    "deletion_auc": "deletion\nAUC",
    "insertion_auc": "insertion\nAUC",
    "infidelity": "infidelity",
    "max_sensitivity": "max\nsensitivity",
    "randomisation": "random\nweights",
    "rank_agreement": "rank\nagreement",
    "top_agreement": "top 10 %\nagreement",
    "sparsity": "sparsity",
    "completeness_gap_relative": "relative\ngap",
    "not_finite": "not\nfinite",
    "constant": "constant",
    "seconds_per_image": "seconds\nan image",
}
COMPARED = (
    "pointing_game",
    "relevance_mass_accuracy",
    "iou",
    "mass_on_mark",
    "deletion_auc",
    "insertion_auc",
    "infidelity",
)
FAULTS = ("not_finite", "constant")  # columns shown only if a method has this fault
BETTER, WORSE = "#9ecae9", "#f6c9a8"  # tints of Okabe and Ito's blue and vermillion
FOOT_CHARACTERS = 16  # characters an inch, at 8 points
MARKS: dict[SanityCheck, str] = {
    "passes": "",
    "unresolved": "? ",
    "not checked": "",
    "fails": "✗ ",
}
CENTRED: dict[str, Any] = {"ha": "center", "va": "center"}
ARROWS = {"higher": "↑", "lower": "↓"}

Measures = Mapping[str, Measure]


def plot_explanation_evaluation(
    explanations: Mapping[str, Measures], attributions: dict[str, np.ndarray]
) -> Figure:
    """Return a table of all pixel methods and baselines: values with their 95 % intervals.

    Blue marks values better than every baseline, vermillion values worse than the best baseline, if intervals do not
    overlap.
    """
    names = attributions["methods"].tolist()
    methods = real_methods(names)
    baselines = [name for name in names if name not in methods]
    shown = [column for column in COLUMNS if _is_worth_a_column(column, explanations, names)]
    width = 2.6 + 0.95 * len(shown)
    foot = _foot(attributions, explanations, methods, int(width * FOOT_CHARACTERS))
    height = 1.5 + 0.42 * len(names) + 0.2 * foot.count("\n")
    figure = new_figure(width, height)
    figure.suptitle(
        "Which explanation to believe: each method's measures on the same random test images",
        fontsize=13,
    )
    axes = figure.subplots()
    axes.set(xlim=(-0.5, len(shown) - 0.5), ylim=(len(names) - 0.5, -0.5))
    for row, name in enumerate([*methods, *baselines]):
        for column, measure in enumerate(shown):
            estimate = explanations[name].get(measure)
            if estimate is None or estimate["value"] is None:
                continue
            rivals = [
                own[measure]
                for other, own in explanations.items()
                if other in baselines and measure in own
            ]
            is_compared = name in methods and measure in COMPARED
            colour = _colour(estimate, rivals) if is_compared else "white"
            corner = column - 0.5, row - 0.5
            axes.add_patch(Rectangle(corner, 1, 1, facecolor=colour, linewidth=0))
            axes.text(column, row - 0.13, _short(estimate["value"]), fontsize=9, **CENTRED)
            if estimate["low"] is not None:
                interval = f"{_short(estimate['low'])} to {_short(estimate['high'])}"
                axes.text(column, row + 0.25, interval, fontsize=6, color="#444444", **CENTRED)
    _label(axes, [*methods, *baselines], shown, explanations)
    axes.axhline(len(methods) - 0.5, color="black", linewidth=1)
    figure.supxlabel(foot, fontsize=8, x=0.01, ha="left")
    return figure


def _label(
    axes: Axes, names: list[str], shown: list[str], explanations: Mapping[str, Measures]
) -> None:
    labels = [f"{COLUMNS[measure]} {_direction(measure, explanations)}" for measure in shown]
    axes.set_xticks(range(len(shown)), labels, fontsize=8)
    axes.xaxis.tick_top()
    marks = [MARKS[sanity_check(name, explanations)] for name in names]
    counts = [_images(explanations[name]) for name in names]
    axes.set_yticks(
        range(len(names)),
        [
            f"{mark}{name}" + (f"\non {count} images" if count < max(counts) else "")
            for mark, name, count in zip(marks, names, counts, strict=True)
        ],
        fontsize=9,
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _is_worth_a_column(
    measure: str, explanations: Mapping[str, Measures], names: list[str]
) -> bool:
    estimates = [explanations[name][measure] for name in names if measure in explanations[name]]
    return (
        any(estimate["value"] for estimate in estimates) if measure in FAULTS else bool(estimates)
    )


def _direction(measure: str, explanations: Mapping[str, Measures]) -> str:
    estimate = next(measures[measure] for measures in explanations.values() if measure in measures)
    return ARROWS[estimate["better"]]


def _colour(estimate: Measure, rivals: list[Measure]) -> str:
    """Return the tint of a value by comparison with the baselines; white if undefined or if intervals overlap."""
    known = [rival for rival in rivals if rival["low"] is not None]
    if estimate["low"] is None or not known:
        return "white"
    low, high = _oriented(estimate)
    intervals = [_oriented(rival) for rival in known]
    if low > max(top for _, top in intervals):
        return BETTER
    return WORSE if high < max(bottom for bottom, _ in intervals) else "white"


def _oriented(estimate: Measure) -> tuple[float, float]:
    """Return both ends of an interval, lower one first; both are negated if lower values are better."""
    low, high = float(estimate["low"] or 0), float(estimate["high"] or 0)
    return (low, high) if estimate["better"] == "higher" else (-high, -low)


def _foot(
    attributions: dict[str, np.ndarray],
    explanations: Mapping[str, Measures],
    methods: list[str],
    characters: int,
) -> str:
    """Return the legend, its lines wrapped at `characters`."""
    lines = [
        "Value and 95 % bootstrap interval; ↑ higher or ↓ lower is better. Blue: better than every baseline (below the "
        "line); vermillion: worse than the best of them; intervals apart."
    ]
    lines.append(_randomisation_in_words(methods, explanations))
    most = max(_images(explanations[name]) for name in attributions["methods"].tolist())
    lines.append(
        f"{most} images, fewer for slow methods. Random weights and sensitivity were tried on fewer images."
    )
    lines += [
        f"{name} is not applicable: {reason}"
        for name, reason in attributions["not_applicable"].tolist()
    ]
    return "\n".join(textwrap.fill(line, characters, subsequent_indent="    ") for line in lines)


def _images(measures: Measures) -> int:
    """Return how many images a method was measured on; without passes through the classifier, only its maps were."""
    return measures["insertion_auc" if "insertion_auc" in measures else "sparsity"]["n"]


def _randomisation_in_words(methods: list[str], explanations: Mapping[str, Measures]) -> str:
    results = {name: sanity_check(name, explanations) for name in methods}
    if set(results.values()) <= {"not checked"}:
        return "The randomisation check is not possible, as the classifier's weights cannot be shuffled."
    failing, open_ones = (
        ", ".join(name for name, result in results.items() if result == wanted)
        for wanted in ("fails", "unresolved")
    )
    check = (
        "✗ fails the randomisation check: its maps stay similar when weights are shuffled, with a rank correlation of "
        f"{MAX_SIMILARITY} or more"
    )
    check += f" ({failing})." if failing else "; every baseline fails, no method here does."
    return check + (
        f" ?: {MAX_SIMILARITY} is inside the interval ({open_ones})." if open_ones else ""
    )


def _short(value: float | None) -> str:
    """Return three significant digits, with an exponent only if needed."""
    if value is None:
        return "–"
    if value and (abs(value) < 1e-3 or abs(value) >= 1e4):
        return f"{value:.0e}"
    digits = 2 if abs(value) >= 1 else 3
    return f"{value:.{max(0, digits - max(0, math.floor(math.log10(abs(value) or 1))))}f}"
