"""Train, validation, calibration and test: stratified, independent of seed and row order, stable under growth."""

import numpy as np
import pandas as pd

from glasshead.errors import SplitError

SPLITS = ("train", "validation", "calibration", "test")


def assign_splits(
    frame: pd.DataFrame,
    validation_fraction: float,
    calibration_fraction: float,
    test_fraction: float = 0.2,
) -> pd.Series:
    """Return the split of each row of `frame`, from its label, given_split and content_hash alone.

    Rows given as test stay test. The other rows of each class are ordered by content hash: the first
    `calibration_fraction` of them become calibration, the next `validation_fraction` validation, the
    next `test_fraction` test if no row is given as test, and the rest train. A fraction above 0 gets
    at least one row, in this order. Exact copies go to one split; if their labels differ, they count
    as rows of the class whose name comes first.
    """
    is_test = frame["given_split"] == "test"
    cut = {"calibration": calibration_fraction, "validation": validation_fraction}
    if not is_test.any():
        cut["test"] = test_fraction
    pool = frame.loc[~is_test, ["label", "content_hash"]]
    copies = pool.groupby("content_hash")["label"].agg(["min", "size"])  # sorted by hash
    split_of: dict[str, str] = {}
    for _, group in copies.groupby("min"):
        split_of |= dict(zip(group.index, _cut(group["size"].to_numpy(), cut), strict=True))
    splits = pd.Series("test", index=frame.index, name="split")
    splits[~is_test] = pool["content_hash"].map(split_of)
    return splits


def check_splits(labels: pd.Series, splits: pd.Series, classes: tuple[str, ...]) -> None:
    """Raise SplitError, with the counts, if a class has no train row or no calibration row."""
    counts = pd.crosstab(labels, splits).reindex(index=classes, columns=SPLITS, fill_value=0)
    lacking = counts[(counts["train"] == 0) | (counts["calibration"] == 0)]
    if lacking.empty:
        return
    rows = [
        f"{name}: " + ", ".join(f"{count} {split}" for split, count in row.items())
        for name, row in lacking.iterrows()
    ]
    raise SplitError(
        f"Every class needs rows in train and in calibration. Too few: {'; '.join(rows)}. Add images "
        "of these classes, at least four different ones each, or leave the classes out."
    )


def _cut(sizes: np.ndarray, cut: dict[str, float]) -> np.ndarray:
    """Return the split of each group of identical images of one class; `sizes` (n,) count their rows, in hash order.

    Cumulative fractions are rounded, not each fraction, so that one more row moves a boundary by at most one row.
    """
    rows, first = sizes.sum(), np.cumsum(sizes) - sizes
    splits = np.full(len(sizes), "train", dtype=object)
    begin, total = 0, 0.0
    for name, fraction in cut.items():
        total += fraction
        end = max(begin + (fraction > 0), int(rows * total + 0.5))
        in_split = (first >= begin) & (first < end)
        splits[in_split] = name
        begin = max(end, int((first + sizes)[in_split].max(initial=0)))
    return splits
