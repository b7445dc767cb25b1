"""The logits table as arrays: the classifier's own output and each of its subtask heads."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from glasshead.calibration.temperature import FINAL


@dataclass(frozen=True)
class HeadLogits:
    """Raw logits and the index of the true class of `n` rows."""

    classes: tuple[str, ...]
    logits: Float[np.ndarray, "n k"]
    labels: Int[np.ndarray, " n"]


def read_heads(table: pd.DataFrame) -> dict[str, HeadLogits]:
    """Return the classifier as `final`, then each subtask.

    From the columns `logit/<class>` and `label`, and `concept_logit/<subtask>/<value>` and
    `target/<subtask>`.
    """
    classes = class_columns(table, "logit/")
    labels = pd.Index(classes).get_indexer(pd.Index(table["label"]))
    final = HeadLogits(classes, _values(table, "logit/", classes), labels)
    return {FINAL: final} | {
        task: _subtask(table, task) for task in class_columns(table, "target/")
    }


def class_columns(table: pd.DataFrame, prefix: str) -> tuple[str, ...]:
    """Return what follows `prefix` in the names of the columns that start with it, in order."""
    return tuple(name.removeprefix(prefix) for name in table.columns if name.startswith(prefix))


def _subtask(table: pd.DataFrame, task: str) -> HeadLogits:
    prefix = f"concept_logit/{task}/"
    values = class_columns(table, prefix)
    return HeadLogits(values, _values(table, prefix, values), table[f"target/{task}"].to_numpy(int))


def _values(table: pd.DataFrame, prefix: str, names: tuple[str, ...]) -> np.ndarray:
    return table[[prefix + name for name in names]].to_numpy(np.float64)
