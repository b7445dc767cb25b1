"""Nodes of `transfer_comparison`."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from glasshead.calibration.replicates import compare_accuracies, mean_over_runs
from glasshead.images.pixels import PixelSource
from glasshead.images.table import ImageTable
from glasshead.models.interpolation import Interpolation, high_frequency_share
from glasshead.models.transfer import TransferClassifier
from glasshead.pipelines.transfer_comparison.variants import (
    RECIPES,
    REFERENCE,
    STUDIED,
    VARIANTS,
    Recipe,
    reference_of,
)
from glasshead.reporting.transfer_figures import convergence_figure, interpolation_figure

MEASURED = 512  # test images whose frequencies are looked at
CHUNK = 64  # of them at once
COMPARED = ("difference", "difference_low", "difference_high", "verdict")


def compare_recipes(*results: Any) -> pd.DataFrame:
    """Return a row a recipe: its accuracy, and its difference to the recipe `reference` from the same seeds.

    Args:
        results: for each of `VARIANTS` in order its metrics, then for each its audit log.

    Columns: architecture, strategy, interpolation; reference: for another network the same strategy on the first, for
    all others the reference strategy, which has none; seeds, their number; accuracy, low, high: mean on test rows and
    95 % t interval over seeds; difference, difference_low, difference_high: to it, paired by seed; verdict: higher,
    lower, or unresolved where that interval holds 0; nll and ece: means after calibration; epochs, images_seen and
    seconds: means of training.
    """
    metrics, logs = results[: len(VARIANTS)], results[len(VARIANTS) :]
    runs = pd.DataFrame(
        {
            "recipe": str(Recipe(*variant[:3])),
            **{name: found[name]["value"] for name in ("accuracy", "nll", "ece")},
            "epochs": len(log),
            **{name: log[name].iloc[-1] for name in ("images_seen", "seconds")},
        }
        for variant, found, log in zip(VARIANTS.values(), metrics, logs, strict=True)
    )
    groups = dict(iter(runs.groupby("recipe")))
    return pd.DataFrame(_row(recipe, groups) for recipe in RECIPES)


def draw_comparison(*audit_logs: pd.DataFrame) -> Figure:
    """Return validation accuracy against epochs, seconds and images seen, of each strategy and network.

    `audit_logs` are those of `VARIANTS` in order; other interpolations than the reference's are left out.
    """
    curves = [
        log.assign(**variant._asdict())
        for variant, log in zip(VARIANTS.values(), audit_logs, strict=True)
        if variant.interpolation == REFERENCE.interpolation
    ]
    return convergence_figure(pd.concat(curves, ignore_index=True))


def study_interpolation(
    comparison: pd.DataFrame,
    classifier: TransferClassifier,
    images: ImageTable,
    samples: pd.DataFrame,
) -> pd.DataFrame:
    """Return a row an interpolation of the reference recipe: what it does to accuracy and to fine detail.

    Columns: those of `comparison` that tell of accuracy; high_frequency_share, high_frequency_low and _high: mean over
    test images, as large as `classifier` reads them, and its 95 % t interval over images.

    Raises ArtifactError if `samples` were not made of `images`.
    """
    images.check_rows(samples)
    same = (comparison["architecture"] == REFERENCE.architecture) & (
        comparison["strategy"] == REFERENCE.strategy
    )
    rows = comparison[same].set_index("interpolation").loc[list(STUDIED)]
    chosen = rows[["seeds", "accuracy", "low", "high", *COMPARED]].reset_index()
    test = np.flatnonzero(samples["split"] == "test")
    test = test[np.linspace(0, len(test) - 1, min(len(test), MEASURED)).round().astype(int)]
    pixels = PixelSource(images, test, classifier.prepare)
    shares = (_fine_detail(pixels, len(test), classifier.backbone_size, name) for name in STUDIED)
    return chosen.join(pd.DataFrame(shares))


def draw_interpolation(interpolation: pd.DataFrame) -> Figure:
    """Return accuracy and high-frequency share of each interpolation with their intervals."""
    return interpolation_figure(interpolation)


def _row(recipe: Recipe, groups: dict[Any, pd.DataFrame]) -> dict[str, Any]:
    runs, reference = groups[str(recipe)], reference_of(recipe)
    others = groups[str(reference)]["accuracy"].tolist() if reference else None
    means = ("nll", "ece", "epochs", "images_seen", "seconds")
    return (
        recipe._asdict()
        | {"reference": str(reference) if reference else None}
        | compare_accuracies(runs["accuracy"].tolist(), others)
        | {name: float(runs[name].mean()) for name in means}
    )


def _fine_detail(
    pixels: PixelSource, count: int, size: int, interpolation: Interpolation
) -> dict[str, float | None]:
    """Return the mean high-frequency share of `count` images resized to `size`, with its interval."""
    parts = [
        high_frequency_share(pixels(rows), size, interpolation)
        for rows in torch.arange(count).split(CHUNK)
    ]
    share = torch.cat(parts)
    found = mean_over_runs(share[share.isfinite()].tolist())  # one colour alone has no frequencies
    return {
        "high_frequency_share": found.value,
        "high_frequency_low": found.low,
        "high_frequency_high": found.high,
    }
