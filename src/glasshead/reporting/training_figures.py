"""Figures of a training run, drawn from its audit log."""

import pandas as pd
from matplotlib.figure import Figure

COLOURS = {
    "train_loss": "#0072B2",
    "validation_loss": "#D55E00",
    "validation_accuracy": "#009E73",
}  # Okabe & Ito 2008


def training_history_figure(audit_log: pd.DataFrame) -> Figure:
    """Return loss (nats) and validation accuracy by epoch; a vertical line where a new phase begins."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    losses, accuracy = figure.subplots(1, 2)
    for axes, columns in (
        (losses, ("train_loss", "validation_loss")),
        (accuracy, ("validation_accuracy",)),
    ):
        for column in columns:
            axes.plot(
                audit_log["epoch"],
                audit_log[column],
                color=COLOURS[column],
                label=column.replace("_", " "),
            )
        for epoch in audit_log["epoch"][
            audit_log["phase"].ne(audit_log["phase"].shift()).to_numpy()
        ][1:]:
            axes.axvline(epoch - 0.5, color="0.6", linestyle=":")
        axes.set_xlabel("epoch")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    losses.set_ylabel("loss (nats)")
    accuracy.set_ylabel("accuracy")
    return figure
