"""Figures of trainings: their histories, and comparisons of their variants over several seeds."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glasshead.reporting.figures import name_lines, new_figure, plain, plot_intervals

# Okabe & Ito 2008
SPLITS = {"train": "#0072B2", "validation": "#D55E00"}
STRATEGIES = {
    "frozen": "#000000",
    "last_1": "#F0E442",
    "last_2": "#56B4E9",
    "last_3": "#E69F00",
    "last_4": "#CC79A7",
    "full": "#0072B2",
    "two_phase": "#D55E00",
}
RESOLVED, UNRESOLVED = "#0072B2", "0.55"
STYLES = ("-", "--", ":", "-.")  # line styles, one for each network in the order of names
SCALES = {"epoch": "epochs", "seconds": "seconds of training", "images_seen": "images seen"}


def plot_training_history(training_history: pd.DataFrame) -> Figure:
    """Return a figure of loss (nats) and accuracy by epoch on train and validation rows, as far as recorded.

    A vertical line marks where a new phase begins. A single epoch is plotted as points.
    """
    figure = new_figure(8, 3.2)
    begins = training_history["epoch"][
        training_history["phase"].ne(training_history["phase"].shift())
    ].iloc[1:]
    for axes, measure in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for split, colour in SPLITS.items():
            if (column := f"{split}_{measure}") in training_history:
                axes.plot(
                    training_history["epoch"],
                    training_history[column],
                    color=colour,
                    label=split,
                    marker="o" if len(training_history) == 1 else None,
                )
        for epoch in begins:
            axes.axvline(epoch - 0.5, color="0.6", linestyle=":")
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss (nats)" if measure == "loss" else measure)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    return figure


def convergence_figure(curves: pd.DataFrame) -> Figure:
    """Return a figure of validation accuracy against epochs, seconds and images seen: mean over seeds, and each seed.

    `curves` has a row for each epoch of each training, with architecture, strategy, replicate, epoch, seconds,
    images_seen and validation_accuracy. Thin lines are single seeds. Colours show strategies, line styles networks.
    """
    figure = new_figure(12, 5)
    panels = figure.subplots(1, len(SCALES), sharey=True)
    styles = dict(zip(sorted(curves["architecture"].unique()), STYLES, strict=False))
    for axes, (scale, label) in zip(panels, SCALES.items(), strict=True):
        for (architecture, strategy), group in curves.groupby(
            ["architecture", "strategy"], sort=False
        ):
            look = {"color": STRATEGIES[str(strategy)], "linestyle": styles[architecture]}
            for _, training in group.groupby("replicate"):
                axes.plot(
                    training[scale],
                    training["validation_accuracy"],
                    linewidth=0.5,
                    alpha=0.4,
                    **look,
                )
            mean = group.groupby("epoch")[["seconds", "images_seen", "validation_accuracy"]].mean()
            mean = mean.reset_index()
            name = plain(f"{architecture}, {strategy}")
            axes.plot(mean[scale], mean["validation_accuracy"], label=name, **look)
        _tidy(axes, label)
    panels[0].xaxis.get_major_locator().set_params(integer=True)
    panels[0].set_ylabel("validation accuracy")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def plot_interpolation(interpolation: pd.DataFrame) -> Figure:
    """Return a figure of test accuracy and high-frequency fraction of each interpolation, with 95 % intervals."""
    figure = new_figure(8, 1.2 + 0.5 * len(interpolation))
    left, right = figure.subplots(1, 2, sharey=True)
    plot_intervals(left, interpolation[["accuracy", "low", "high"]], RESOLVED)
    _tidy(left, "test accuracy, 95 % interval over seeds")
    fraction = interpolation[
        ["high_frequency_fraction", "high_frequency_low", "high_frequency_high"]
    ]
    plot_intervals(right, fraction, RESOLVED)
    _tidy(right, "energy above half the original's Nyquist\nfrequency, 95 % interval over images")
    name_lines(left, interpolation["interpolation"])
    return figure


def comparison_figure(table: pd.DataFrame, name: str, baseline: str) -> Figure:
    """Return a figure of accuracies and differences to `baseline` with 95 % intervals; unresolved ones are grey.

    `table` has a row for each variant, named by the column `name`, with accuracy, low, high, difference,
    difference_low, difference_high and verdict. The differences of `baseline` are null.
    """
    figure = new_figure(8, 0.8 + 0.4 * len(table))
    left, right = figure.subplots(1, 2, sharey=True)
    plot_intervals(left, table[["accuracy", "low", "high"]], RESOLVED)
    left.set_xlabel("test accuracy, 95 % interval over seeds")
    name_lines(left, table[name])
    colours = [UNRESOLVED if word == "unresolved" else RESOLVED for word in table["verdict"]]
    plot_intervals(right, table[["difference", "difference_low", "difference_high"]], *colours)
    right.axvline(0, color="0.3", linewidth=0.8)
    right.set_xlabel(f"difference to {plain(baseline)}; grey: unresolved")
    return figure


def _tidy(axes: Axes, label: str) -> None:
    axes.set_xlabel(label)
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
