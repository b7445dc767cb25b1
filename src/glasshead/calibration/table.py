"""The tables of logits and of calibrated probabilities: their columns, read as arrays.

A softmax output has the columns `logit/<class>` and `label`, and for each subtask of a bottleneck
`concept_logit/<subtask>/<value>` and `target/<subtask>`. A sigmoid output (an image may have several labels) has
`logit/<class>` and `label/<class>`, which is 1 for an image with the label, else 0. Calibration adds
`probability/<class>` and `concept/<subtask>/<value>`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from glasshead.calibration.temperature import FINAL, probabilities_at
from glasshead.errors import ArtifactError, SplitError

IDENTITY = ["image_id", "split", "label"]
LABEL = "label/"
YES_NO = ("no", "yes")


@dataclass(frozen=True)
class Head:
    """The logits of one softmax over `classes`, and the index of the true class, for `n` rows.

    `calibrated` holds the probabilities at the fitted temperature; None if the table was not calibrated.
    """

    classes: tuple[str, ...]
    logits: Float[np.ndarray, "n k"]
    labels: Int[np.ndarray, " n"]
    calibrated: Float[np.ndarray, "n k"] | None = None


def read_heads(table: pd.DataFrame) -> dict[str, Head]:
    """Return the head of the classes as `final`, then one for each subtask; for a sigmoid output, one for each class.

    A class of a sigmoid output is treated as a softmax over `no`, with logit 0, and `yes`.
    """
    if labels := class_columns(table, LABEL):
        return {name: _yes_or_no(table, name) for name in labels}
    classes = class_columns(table, "logit/")
    final = Head(
        classes,
        _values(table, "logit/", classes),
        pd.Index(classes).get_indexer(pd.Index(table["label"])),
        _calibrated(table, "probability/", classes),
    )
    return {FINAL: final} | {
        task: _subtask(table, task) for task in class_columns(table, "target/")
    }


def apply_temperatures(logits: pd.DataFrame, temperatures: dict[str, float]) -> pd.DataFrame:
    """Return predicted class, confidence and the calibrated probabilities of all heads, for all rows.

    A sigmoid output has `label/<class>` instead of `predicted` and `confidence`.

    Raises ArtifactError unless `temperatures` and `logits` have the same heads.
    """
    heads = read_heads(logits)
    if set(heads) != set(temperatures):
        raise ArtifactError(
            "The temperatures and the logits come from different trainings. Run the calibrate pipeline again."
        )
    labels = [LABEL + name for name in class_columns(logits, LABEL)]
    columns: dict[str, object] = {}
    for name, head in heads.items():
        values = probabilities_at(head.logits, temperatures[name])
        if labels:
            columns[f"probability/{name}"] = values[:, 1]
        elif name == FINAL:
            columns["predicted"] = [head.classes[index] for index in values.argmax(axis=1)]
            columns["confidence"] = values.max(axis=1)
            columns |= _columns("probability/", head.classes, values)
        else:
            columns |= _columns(f"concept/{name}/", head.classes, values)
    known = [name for name in (*IDENTITY, "content_hash", *labels) if name in logits]
    return pd.concat([logits[known], pd.DataFrame(columns, index=logits.index)], axis=1)


def table_of_test(logits: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the test rows with labels, targets, logits and calibrated probabilities.

    Raises:
        ArtifactError: the two tables hold different images.
        SplitError: there are no test rows.
    """
    if not predictions["image_id"].equals(logits["image_id"]):
        raise ArtifactError(
            "The predictions and the logits cover different images. Run the calibrate pipeline again."
        )
    raw = logits[logits.columns.difference(predictions.columns, sort=False)]
    whole = pd.concat([predictions, raw], axis=1)
    test = whole[whole["split"] == "test"].reset_index(drop=True)
    if test.empty:
        raise SplitError(
            "The test split is empty, so nothing can be evaluated. Use a source with a test split, or run the "
            "preprocess pipeline again with a larger preprocess.test_fraction."
        )
    return test


def class_columns(table: pd.DataFrame, prefix: str) -> tuple[str, ...]:
    """Return the names of the columns that start with `prefix`, without this prefix, in order."""
    return tuple(name.removeprefix(prefix) for name in table.columns if name.startswith(prefix))


def _subtask(table: pd.DataFrame, task: str) -> Head:
    prefix = f"concept_logit/{task}/"
    values = class_columns(table, prefix)
    return Head(
        values,
        _values(table, prefix, values),
        table[f"target/{task}"].to_numpy(int),
        _calibrated(table, f"concept/{task}/", values),
    )


def _yes_or_no(table: pd.DataFrame, name: str) -> Head:
    logit = table[f"logit/{name}"].to_numpy(np.float64)
    probability = _calibrated(table, "probability/", (name,))
    return Head(
        YES_NO,
        np.stack([np.zeros_like(logit), logit], axis=1),
        table[LABEL + name].to_numpy(int),
        None if probability is None else np.hstack([1 - probability, probability]),
    )


def _calibrated(
    table: pd.DataFrame, prefix: str, names: tuple[str, ...]
) -> Float[np.ndarray, "n k"] | None:
    known = all(prefix + name in table for name in names)
    return _values(table, prefix, names) if known else None


def _values(table: pd.DataFrame, prefix: str, names: tuple[str, ...]) -> np.ndarray:
    return table[[prefix + name for name in names]].to_numpy(np.float64)


def _columns(prefix: str, names: tuple[str, ...], values: np.ndarray) -> dict[str, object]:
    return {prefix + name: values[:, column] for column, name in enumerate(names)}
