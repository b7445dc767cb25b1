"""Which concepts decide: each value of each concept is set to probability 0 and then to 1."""

from collections.abc import Sequence
from dataclasses import astuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from torch import Tensor

from glasshead.calibration.bootstrap import bootstrap_intervals, mean_of
from glasshead.explainers.concepts import subtask_columns
from glasshead.explainers.interventions import predict_classes, set_probability
from glasshead.models.heads import GlassHeads

COLUMNS = ("subtask", "value", "probability", "fraction", "low", "high", "n", "to", "to_fraction")


def measure_flips(
    classifier: GlassHeads,
    classes: Sequence[str],
    concepts: Float[Tensor, "n c"],
    n_resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Return a row for each value of each subtask at probability 0 and at 1, in this order.

    Columns: subtask, value, probability; fraction, of the n rows, whose predicted class changes; low and high, its 95 %
    bootstrap interval; to, the class that most of these rows change to (the first of equals); to_fraction, the fraction
    of these rows that changes to it. The last two are missing if no row changes. The other values of the subtask share
    the remaining probability.
    """
    before, columns = predict_classes(classifier, concepts), subtask_columns(classifier.concepts)
    after = {
        (task.name, value, probability): predict_classes(
            classifier, set_probability(concepts, own, index, probability)
        )
        for task, own in zip(classifier.concepts, columns, strict=True)
        for index, value in enumerate(task.values)
        for probability in (0, 1)
    }
    flipped = {
        "/".join(map(str, name)): mean_of((changed != before).astype(float))
        for name, changed in after.items()
    }
    fractions = bootstrap_intervals(flipped, n_resamples, seed).values()
    rows = [
        (*name, *astuple(fraction), *_destination(changed[changed != before], classes))
        for (name, changed), fraction in zip(after.items(), fractions, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _destination(
    flipped: Int[np.ndarray, " f"], classes: Sequence[str]
) -> tuple[str | None, float | None]:
    counts = np.bincount(flipped, minlength=len(classes))
    if not counts.any():
        return None, None
    return classes[int(counts.argmax())], float(counts.max() / counts.sum())
