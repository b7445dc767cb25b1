"""Figures of `transfer_comparison`: how fast each fine-tuning strategy learns, and what resizing does."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glasshead.reporting.figures import new_figure, plain

# Okabe & Ito 2008
COLOURS = {
    "frozen": "#000000",
    "last_1": "#F0E442",
    "last_2": "#56B4E9",
    "last_3": "#E69F00",
    "last_4": "#CC79A7",
    "full": "#0072B2",
    "two_phase": "#D55E00",
}
STYLES = ("-", "--", ":", "-.")  # one a network, in the order of their names
SCALES = {"epoch": "epochs", "seconds": "seconds of training", "images_seen": "images seen"}


def convergence_figure(curves: pd.DataFrame) -> Figure:
    """Return validation accuracy against epochs, seconds and images seen: the mean over seeds, and each seed thin.

    `curves` has a row for each epoch of each training, with architecture, strategy, replicate, epoch, seconds,
    images_seen and validation_accuracy. Colours tell strategies apart, line styles networks.
    """
    figure = new_figure(12, 5)
    panels = figure.subplots(1, len(SCALES), sharey=True)
    styles = dict(zip(sorted(curves["architecture"].unique()), STYLES, strict=False))
    for axes, (scale, label) in zip(panels, SCALES.items(), strict=True):
        for (architecture, strategy), group in curves.groupby(
            ["architecture", "strategy"], sort=False
        ):
            look = {"color": COLOURS[str(strategy)], "linestyle": styles[architecture]}
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


def interpolation_figure(table: pd.DataFrame) -> Figure:
    """Return test accuracy and high-frequency fraction of each interpolation with 95 % intervals."""
    figure = new_figure(8, 1.2 + 0.5 * len(table))
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, columns, label in (
        (left, ("accuracy", "low", "high"), "test accuracy, 95 % interval over seeds"),
        (
            right,
            ("high_frequency_fraction", "high_frequency_low", "high_frequency_high"),
            "energy above half the original's Nyquist\nfrequency, 95 % interval over images",
        ),
    ):
        for line, (value, low, high) in enumerate(table[list(columns)].astype(float).to_numpy()):
            axes.plot([low, high], [line, line], color=COLOURS["full"], linewidth=2)
            axes.plot(value, line, "o", color=COLOURS["full"])
        _tidy(axes, label)
    left.set_yticks(range(len(table)), [plain(name) for name in table["interpolation"]])
    left.invert_yaxis()
    return figure


def _tidy(axes: Axes, label: str) -> None:
    axes.set_xlabel(label)
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
