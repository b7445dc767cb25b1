"""Which concepts decide: every value of every concept is set to probability 0 and to 1."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from glasshead.calibration.bootstrap import bootstrap_intervals, mean_of
from glasshead.explainers.interventions import Flips, compare_decisions, set_probability
from glasshead.models.heads import GlassHeads

Setting = tuple[str, str, int]  # subtask, value, probability
COLUMNS = ("subtask", "value", "probability", "fraction", "low", "high", "n", "to", "to_fraction")


def measure_flips(
    classifier: GlassHeads,
    classes: Sequence[str],
    concepts: Float[Tensor, "n c"],
    n_resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Return a row for each value of each subtask at probability 0 and at 1, in this order.

    Columns: subtask, value, probability; fraction of the n rows whose predicted class changes, with its 95 % bootstrap
    interval low to high; to, the class that most of these change to (the first of equals), and to_fraction of them,
    both missing if none changes. Other values of the subtask share the remaining probability.
    """
    settings = dict(_every_setting(classifier, concepts))
    fractions = bootstrap_intervals(
        {
            "/".join(map(str, setting)): mean_of(flips.flipped.astype(float))
            for setting, flips in settings.items()
        },
        n_resamples,
        seed,
    )
    rows = [
        (
            *setting,
            fraction.value,
            fraction.low,
            fraction.high,
            fraction.n,
            *_destination(flips, classes),
        )
        for (setting, flips), fraction in zip(settings.items(), fractions.values(), strict=True)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _every_setting(
    classifier: GlassHeads, concepts: Float[Tensor, "n c"]
) -> Iterator[tuple[Setting, Flips]]:
    for task in classifier.concepts:
        for value in task.values:
            for probability in (0, 1):
                changed = set_probability(
                    classifier.concepts, concepts, task.name, value, probability
                )
                yield (
                    (task.name, value, probability),
                    compare_decisions(classifier, concepts, changed),
                )


def _destination(flips: Flips, classes: Sequence[str]) -> tuple[str | None, float | None]:
    counts = np.bincount(flips.after[flips.flipped], minlength=len(classes))
    if not counts.any():
        return None, None
    return classes[int(counts.argmax())], float(counts.max() / counts.sum())
