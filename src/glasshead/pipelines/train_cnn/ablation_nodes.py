"""Nodes of `cnn_ablation`: augmentations, compared over several seeds."""

from functools import partial
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from glasshead.calibration.replicates import compare_accuracies
from glasshead.errors import ParameterError
from glasshead.images.table import ImageTable
from glasshead.models.store import VariantStore
from glasshead.models.variants import fit_each
from glasshead.pipelines.train_cnn.nodes import TrainCNNParams, fit_cnn
from glasshead.reporting.training_figures import comparison_figure
from glasshead.training.augment import PRESETS

REPLICATES = 3  # seeds of each augmentation: the run's own seed and the next ones
BASELINE = "baseline"


class Variant(NamedTuple):
    """One training with an augmentation; its seed is the run's seed plus `replicate`."""

    augmentation: str
    replicate: int


VARIANTS = [Variant(name, replicate) for name in PRESETS for replicate in range(REPLICATES)]


def fit_variants(
    images: ImageTable,
    fitting_samples: pd.DataFrame,
    variants: VariantStore,
    parameters: TrainCNNParams,
    seed: int,
) -> pd.DataFrame:
    """Fit a network for each of `VARIANTS`, keep them in `variants`, and return all training histories.

    Raises the errors of `fit_cnn`, and ParameterError if the parameters choose an augmentation.
    """
    if "augmentation" in parameters.model_fields_set:
        raise ParameterError(
            "The pipeline cnn_ablation compares augmentations, so its parameters cannot choose one. "
            "Remove `augmentation` from `cnn_ablation`."
        )
    trainings = {
        variant: partial(
            fit_cnn,
            images,
            fitting_samples,
            parameters=parameters.model_copy(
                update={"augmentation": PRESETS[variant.augmentation]}
            ),
            seed=seed + variant.replicate,
        )
        for variant in VARIANTS
    }
    return fit_each(variants, trainings)


def compare_augmentations(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each augmentation: its accuracy, and the difference to `baseline` with the same seeds.

    Columns: augmentation; seeds, their number; accuracy, low, high: mean on test rows and 95 % t interval over seeds;
    difference, difference_low, difference_high: to the baseline, paired by seed, null for the baseline itself; verdict:
    higher, lower, or unresolved if the interval of the difference contains 0; nll and ece: means after calibration;
    seconds: mean of training.
    """
    groups = dict(iter(runs.groupby("augmentation", sort=False)))
    reference = groups[BASELINE]["accuracy"].tolist()
    return pd.DataFrame(
        {"augmentation": name}
        | compare_accuracies(group["accuracy"].tolist(), None if name == BASELINE else reference)
        | {column: float(group[column].mean()) for column in ("nll", "ece", "seconds")}
        for name, group in groups.items()
    )


def plot_ablation(ablation: pd.DataFrame) -> Figure:
    """Return a figure of the accuracies and differences with their intervals."""
    return comparison_figure(ablation, "augmentation", BASELINE)
