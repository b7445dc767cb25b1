"""Figures of a training history."""

import pandas as pd
from matplotlib.figure import Figure

from glasshead.reporting.figures import new_figure

COLOURS = {"train": "#0072B2", "validation": "#D55E00"}  # Okabe & Ito 2008


def plot_training_history(training_history: pd.DataFrame) -> Figure:
    """Return loss (nats) and accuracy by epoch on train and validation rows, where the training history has them.

    A vertical line marks where a new phase begins. A single epoch is plotted as points.
    """
    figure = new_figure(8, 3.2)
    begins = training_history["epoch"][
        training_history["phase"].ne(training_history["phase"].shift())
    ].iloc[1:]
    for axes, measure in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for split, colour in COLOURS.items():
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
