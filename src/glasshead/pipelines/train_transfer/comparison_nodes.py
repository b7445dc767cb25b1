"""Nodes of `transfer_comparison`: strategies, networks and interpolations, compared over several seeds."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from glasshead.calibration.replicates import compare_accuracies, mean_over_runs
from glasshead.errors import ParameterError
from glasshead.images.pixels import PixelSource
from glasshead.images.table import ImageTable
from glasshead.models.interpolation import Interpolation, high_frequency_fraction
from glasshead.models.pretrained import names_backbone
from glasshead.models.stages import Architecture
from glasshead.models.store import ClassifierStore, VariantStore
from glasshead.models.transfer import TransferClassifier
from glasshead.models.variants import fit_each, name_of
from glasshead.pipelines.train_transfer.nodes import fit_transfer, train_parent
from glasshead.pipelines.train_transfer.params import TrainTransferParams
from glasshead.reporting.training_figures import convergence_figure
from glasshead.training.phases import Strategy

REPLICATES = 3  # seeds of each recipe: the run's own seed and the next ones
MEASURED = 512  # test images whose spatial frequencies are measured
CHUNK = 64  # images resized at once
COMPARED = ("difference", "difference_low", "difference_high", "verdict")


class Recipe(NamedTuple):
    """What differs between the compared trainings; everything else is the same."""

    architecture: Architecture
    strategy: Strategy
    interpolation: Interpolation

    def __str__(self) -> str:
        return f"{self.architecture}_{self.strategy}_{self.interpolation}"


class Variant(NamedTuple):
    """One training of a recipe; its seed is the run's seed plus `replicate`."""

    architecture: Architecture
    strategy: Strategy
    interpolation: Interpolation
    replicate: int


STRATEGIES: dict[Architecture, tuple[Strategy, ...]] = {
    "resnet18": ("frozen", "last_3", "last_4", "full", "two_phase"),
    "resnet50": ("frozen", "full", "two_phase"),
}
REFERENCE = Recipe("resnet18", "two_phase", "bilinear")
STUDIED: tuple[Interpolation, ...] = ("bilinear", "bicubic", "none")

RECIPES = [
    *(
        Recipe(architecture, strategy, REFERENCE.interpolation)
        for architecture, strategies in STRATEGIES.items()
        for strategy in strategies
    ),
    *(
        REFERENCE._replace(interpolation=name)
        for name in STUDIED
        if name != REFERENCE.interpolation
    ),
]
VARIANTS = [Variant(*recipe, replicate) for recipe in RECIPES for replicate in range(REPLICATES)]


def reference_of(recipe: Recipe) -> Recipe | None:
    """Return the same strategy on the network of `REFERENCE`; on this network `REFERENCE`, and None for itself."""
    if recipe.architecture != REFERENCE.architecture:
        return recipe._replace(architecture=REFERENCE.architecture)
    return REFERENCE if recipe != REFERENCE else None


def pretrain_parents(
    transfer_parents: ClassifierStore,
    variants: VariantStore,
    parameters: TrainTransferParams,
    seed: int,
) -> tuple[dict[str, dict[str, Any]], pd.DataFrame]:
    """Return the parent of each architecture as `train_parent` does, and all their training histories.

    Raises the errors of `train_parent`, and ParameterError if the parameters set what is compared.
    """
    pretrained = parameters.network.pretrained
    if names_backbone(pretrained):
        raise ParameterError(
            f"transfer_comparison compares {' and '.join(STRATEGIES)}, but network.pretrained is the backbone "
            f"{pretrained!r}, which has its own architecture. Set it to own, imagenet or none."
        )
    parents: dict[str, dict[str, Any]] = {}
    histories = []
    for architecture in STRATEGIES:
        name = f"parent_{architecture}"
        variants.note(name)
        chosen = _parameters_of(REFERENCE._replace(architecture=architecture), parameters)
        parents[architecture], history = train_parent(transfer_parents, chosen, seed)
        variants.note(name, finished=True, parent_audit_log=history)
        histories.append(history.assign(architecture=architecture))
    return parents, pd.concat(histories, ignore_index=True)


def fit_variants(
    images: ImageTable,
    fitting_samples: pd.DataFrame,
    parents: dict[str, dict[str, Any]],
    variants: VariantStore,
    parameters: TrainTransferParams,
    seed: int,
) -> pd.DataFrame:
    """Fine-tune a network for each of `VARIANTS`, keep them in `variants`, and return all training histories.

    Raises the errors of `fit_transfer`, and ParameterError if the parameters set what is compared.
    """
    trainings = {
        variant: partial(
            fit_transfer,
            images,
            fitting_samples,
            parents[variant.architecture],
            parameters=_parameters_of(variant, parameters),
            seed=seed + variant.replicate,
        )
        for variant in VARIANTS
    }
    return fit_each(variants, trainings)


def compare_recipes(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each recipe: its accuracy, and the difference to its reference recipe with the same seeds.

    Columns: architecture, strategy, interpolation; reference, the recipe to compare with (see `reference_of`); seeds,
    their number; accuracy, low, high: mean on test rows and 95 % t interval over seeds; difference, difference_low,
    difference_high: to the reference, paired by seed; verdict: higher, lower, or unresolved if the interval of the
    difference contains 0;
    nll and ece: means after calibration; epochs, images_seen and seconds: means of training.
    """
    groups = dict(iter(runs.groupby(list(Recipe._fields))))
    return pd.DataFrame(_row(recipe, groups) for recipe in RECIPES)


def plot_comparison(histories: pd.DataFrame) -> Figure:
    """Return a figure of validation accuracy against epochs, seconds and images seen, by strategy and network.

    Only recipes with the reference's interpolation are shown.
    """
    return convergence_figure(histories[histories["interpolation"] == REFERENCE.interpolation])


def study_interpolation(
    comparison: pd.DataFrame, variants: VariantStore, images: ImageTable, samples: pd.DataFrame
) -> pd.DataFrame:
    """Return accuracy and remaining fine detail for each interpolation, with the reference network and strategy.

    Columns: those of `comparison` on accuracy; high_frequency_fraction, high_frequency_low and _high: mean over test
    images, resized as for the reference recipe, and its 95 % t interval over images.

    Raises ArtifactError if `samples` are not rows of `images`.
    """
    images.check_rows(samples)
    classifier = variants.load(name_of(Variant(*REFERENCE, replicate=0)))
    assert isinstance(classifier, TransferClassifier)
    same = (comparison["architecture"] == REFERENCE.architecture) & (
        comparison["strategy"] == REFERENCE.strategy
    )
    rows = comparison[same].set_index("interpolation").loc[list(STUDIED)]
    chosen = rows[["seeds", "accuracy", "low", "high", *COMPARED]].reset_index()
    test = np.flatnonzero(samples["split"] == "test")
    test = test[np.linspace(0, len(test) - 1, min(len(test), MEASURED)).round().astype(int)]
    pixels = PixelSource(images, test, classifier.prepare)
    fractions = (
        _fine_detail(pixels, len(test), classifier.backbone_size, name) for name in STUDIED
    )
    return chosen.join(pd.DataFrame(fractions))


def _parameters_of(
    variant: Recipe | Variant, parameters: TrainTransferParams
) -> TrainTransferParams:
    return parameters.varied(
        network={"architecture": variant.architecture, "interpolation": variant.interpolation},
        strategy={"strategy": variant.strategy},
    )


def _row(recipe: Recipe, groups: dict[Any, pd.DataFrame]) -> dict[str, Any]:
    runs, reference = groups[recipe], reference_of(recipe)
    reference_accuracies = groups[reference]["accuracy"].tolist() if reference else None
    means = ("nll", "ece", "epochs", "images_seen", "seconds")
    return (
        recipe._asdict()
        | {"reference": str(reference) if reference else None}
        | compare_accuracies(runs["accuracy"].tolist(), reference_accuracies)
        | {name: float(runs[name].mean()) for name in means}
    )


def _fine_detail(
    pixels: PixelSource, count: int, size: int, interpolation: Interpolation
) -> dict[str, float | None]:
    """Return the mean high-frequency fraction of `count` images resized to `size`, with its interval."""
    fractions = [
        high_frequency_fraction(pixels(rows), size, interpolation)
        for rows in torch.arange(count).split(CHUNK)
    ]
    fraction = torch.cat(fractions)
    # An image of a single colour has no frequencies, so its fraction is undefined.
    estimate = mean_over_runs(fraction[fraction.isfinite()].tolist())
    return estimate.columns("high_frequency_fraction", "high_frequency_")
