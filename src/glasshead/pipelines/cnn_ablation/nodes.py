"""Nodes of `cnn_ablation`."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from glasshead.calibration.replicates import compare_accuracies
from glasshead.reporting.comparison_figures import comparison_figure
from glasshead.training.augment import PRESETS

REPLICATES = 3  # the seeds of each augmentation: the run's own and those after it
BASELINE = "baseline"
VARIANTS = {
    f"cnn_ablation.{augmentation}_{replicate}": (augmentation, replicate)
    for augmentation in PRESETS
    for replicate in range(REPLICATES)
}


def compare_augmentations(*results: Any) -> pd.DataFrame:
    """Return a row an augmentation: its accuracy, and its difference to `baseline` from the same seeds.

    Args:
        results: for each of `VARIANTS` in order its metrics, then for each its audit log.

    Columns: augmentation; seeds, their number; accuracy, low, high: mean on test rows and 95 % t interval over seeds;
    difference, difference_low, difference_high: to the baseline, paired by seed, null for itself; verdict: higher,
    lower, or unresolved where that interval holds 0; nll and ece: means after calibration; seconds: mean of training.
    """
    metrics, logs = results[: len(VARIANTS)], results[len(VARIANTS) :]
    runs = pd.DataFrame(
        {
            "augmentation": augmentation,
            **{name: found[name]["value"] for name in ("accuracy", "nll", "ece")},
            "seconds": log["seconds"].iloc[-1],
        }
        for (augmentation, _), found, log in zip(VARIANTS.values(), metrics, logs, strict=True)
    )
    groups = dict(iter(runs.groupby("augmentation", sort=False)))
    reference = groups[BASELINE]["accuracy"].tolist()
    return pd.DataFrame(
        {"augmentation": name}
        | compare_accuracies(group["accuracy"].tolist(), None if name == BASELINE else reference)
        | {column: float(group[column].mean()) for column in ("nll", "ece", "seconds")}
        for name, group in groups.items()
    )


def draw_ablation(ablation: pd.DataFrame) -> Figure:
    """Return accuracies and differences with their intervals."""
    return comparison_figure(ablation, "augmentation", BASELINE)
