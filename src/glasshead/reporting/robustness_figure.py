"""The figure of `robustness`: accuracy, confidence and calibration on changed images."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glasshead.reporting.figures import message_figure, new_figure, plain
from glasshead.reporting.panels import AGAINST, FOR

TITLES = {
    "gaussian_noise": "Gaussian noise, standard deviation",
    "gaussian_blur": "Gaussian blur, standard deviation",
    "jpeg": "JPEG",
    "fgsm": "FGSM, ε",
    "pgd": "PGD, ε",
}
CURVES = {  # by column: the prefix of its interval, colour, style, label
    "accuracy": ("", FOR, "o-", "accuracy"),
    "confidence": ("confidence_", AGAINST, "s--", "mean confidence"),
    "ece": ("ece_", "0.4", "^:", "ECE"),
}


def plot_robustness(robustness: pd.DataFrame) -> Figure:
    """Return a panel for each perturbation of `robustness_table`, from clean images to the last strength.

    Panels show accuracy, mean confidence and ECE with 95 % intervals. A confidence above the accuracy means that the
    classifier does not know that it is wrong.
    """
    is_clean = robustness["perturbation"] == "clean"
    clean, changed = robustness[is_clean], robustness[~is_clean]
    if changed.empty:
        return message_figure("No perturbation was measured: all lists of strengths are empty.")
    groups = list(changed.groupby("perturbation", sort=False))
    figure = new_figure(1.2 + 2.8 * len(groups), 3.8)
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for axes, (name, group) in zip(panels, groups, strict=True):
        _plot_panel(axes, str(name), pd.concat([clean, group]))
    panels[0].set_ylim(-0.02, 1.02)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(f"{robustness['n'].iloc[0]} test images; bands: 95 % bootstrap intervals")
    return figure


def _plot_panel(axes: Axes, name: str, rows: pd.DataFrame) -> None:
    """Plot `rows` in their order at equal distances: JPEG's quality falls, while the strength of others rises."""
    positions = range(len(rows))
    for column, (prefix, colour, style, label) in CURVES.items():
        value, low, high = (
            rows[bound].astype(float) for bound in (column, f"{prefix}low", f"{prefix}high")
        )
        axes.fill_between(positions, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(positions, value, style, color=colour, markersize=4, label=label)
    unit = rows["unit"].iloc[-1]
    axes.set_xticks(
        positions, ["clean", *(f"{strength:g}" for strength in rows["strength"].iloc[1:])]
    )
    axes.set_xlabel(f"{plain(TITLES.get(name, name), 40)}\n({plain(unit)})")
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
