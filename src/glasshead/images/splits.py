"""Train, validation, calibration and test: stratified, independent of seed and row order, stable under growth."""

import hashlib

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from glasshead.calibration.table import class_columns
from glasshead.errors import ParameterError, SplitError
from glasshead.images.table import ATTRIBUTE

SPLITS = ("train", "validation", "calibration", "test")
SHOWN = 3  # groups in a message


def assign_splits(
    frame: pd.DataFrame,
    validation_fraction: float,
    calibration_fraction: float,
    test_fraction: float = 0.2,
    group_by: str | None = None,
    seen: pd.Series | None = None,
) -> pd.Series:
    """Return the split of each row of `frame`, from its label, given_split, content_hash and group alone.

    Rows given as test stay test. Of the rows of each class given as validation, `calibration_fraction` /
    (`calibration_fraction` + `validation_fraction`) become calibration, and the rest stay validation. The other rows of
    each class are ordered by content hash: the first `calibration_fraction` of them become calibration and the next
    `validation_fraction` validation, unless the class has given validation rows; the next `test_fraction` become test
    if no row is given as test; and the rest train. A fraction above 0 gets at least one row, in this order.

    Exact copies go to one split, unless the source gives them to several. All rows with the same value of the attribute
    `group_by` go to one split; those without a value are their own groups. If the labels of copies or of a group
    differ, they count as rows of the class whose name comes first. Copies or a group of more than half of the rows that
    are cut stay where the rest is.

    `seen`, for a classifier from outside, says which rows it was trained on. These are train, but for
    `validation_fraction` of them. All others are calibration; unless rows are given as test, `test_fraction` /
    (`test_fraction` + `calibration_fraction`) of them are test.

    Raises ParameterError if there is no attribute `group_by`, and SplitError if a group is in several given splits.
    """
    given = frame["given_split"].fillna("train")
    if seen is not None:
        given = _given_by_training(given, seen)
    groups = _groups(frame, given, group_by)
    cut = {"calibration": calibration_fraction, "validation": validation_fraction}
    of_validation = {"calibration": calibration_fraction / sum(cut.values())}
    untested = {} if (given == "test").any() else {"test": test_fraction}
    validated = set(frame.loc[given == "validation", "label"])
    shares_of = {"train": cut | untested, "validation": of_validation}
    if seen is not None:
        test = test_fraction / (test_fraction + calibration_fraction)
        shares_of = {
            "train": {"validation": validation_fraction},
            "calibration": dict.fromkeys(untested, test),
        }
    splits = given.rename("split")
    for pool, of_pool in shares_of.items():
        rows = frame.loc[given == pool]
        units = _units(rows["content_hash"], groups)
        sizes = rows["label"].groupby(units).agg(["min", "size"])  # sorted by unit
        split_of: dict[str, str] = {}
        for label, of_class in sizes.groupby("min"):
            shares = untested if pool == "train" and label in validated else of_pool
            chosen = _cut(of_class["size"].to_numpy(), shares, pool)
            split_of |= dict(zip(of_class.index, chosen, strict=True))
        splits[rows.index] = units.map(split_of)
    return splits


def _given_by_training(given: pd.Series, seen: pd.Series) -> pd.Series:
    """Return train for the rows that were seen, test for those given as test, and calibration for the rest."""
    unseen = given.where(given == "test", "calibration")
    return unseen.where(~seen, "train")


def check_splits(
    labels: pd.Series,
    splits: pd.Series,
    classes: tuple[str, ...],
    needed: tuple[str, ...] = ("train", "calibration"),
) -> None:
    """Raise SplitError, with the counts, if a class has no row in one of the splits that are `needed`."""
    counts = pd.crosstab(labels, splits).reindex(index=classes, columns=SPLITS, fill_value=0)
    lacking = counts[(counts[list(needed)] == 0).any(axis=1)]
    if lacking.empty:
        return
    rows = [
        f"{name}: " + ", ".join(f"{count} {split}" for split, count in row.items())
        for name, row in lacking.iterrows()
    ]
    raise SplitError(
        f"Every class needs rows in {' and in '.join(needed)}. Too few: {'; '.join(rows)}. Add images "
        "of these classes, at least four different ones each, or leave the classes out. With preprocess.group_by, "
        "each needs four groups, none of which has more than half of its images."
    )


def _groups(frame: pd.DataFrame, given: pd.Series, group_by: str | None) -> pd.Series | None:
    """Return the group of each row, null where it has none; None without `group_by`."""
    if group_by is None:
        return None
    if ATTRIBUTE + group_by not in frame:
        known = class_columns(frame, ATTRIBUTE)
        raise ParameterError(
            f"preprocess.group_by is {group_by!r}, which is not an attribute of the images. Known: "
            f"{', '.join(known) or 'none'}. Name one of these, or read it with the source's attributes."
        )
    groups = frame[ATTRIBUTE + group_by]
    splits = given.groupby(groups).unique()
    if len(straddling := splits[splits.map(len) > 1]):
        shown = "; ".join(
            f"{name}: {' and '.join(sorted(found))}" for name, found in straddling[:SHOWN].items()
        )
        raise SplitError(
            f"{len(straddling)} groups of preprocess.group_by={group_by} are in more than one split of the source: "
            f"{shown}. Move each group's images into one split, or give the source without splits."
        )
    return groups


def _units(hashes: pd.Series, groups: pd.Series | None) -> pd.Series:
    """Return for each row a hash that all rows have which must be in its split, by their content or by their group."""
    if groups is None or hashes.empty:
        return hashes
    named = groups[hashes.index]
    by_group = hashes.where(
        named.isna(), named.map(lambda name: hashlib.sha256(str(name).encode()).hexdigest())
    )
    left, right = pd.factorize(by_group)[0], pd.factorize(hashes)[0]
    count = max(left.max(), right.max()) + 1
    links = coo_array((np.ones(len(hashes)), (left, count + right)), shape=(2 * count, 2 * count))
    parts = connected_components(links, directed=False)[1][left]
    return by_group.groupby(parts).transform("min")


def _cut(sizes: np.ndarray, shares: dict[str, float], rest: str) -> np.ndarray:
    """Return the split of each unit of rows of one class; `sizes` (n,) count their rows, in hash order.

    Cumulative fractions are rounded, not each fraction, so that one more row moves a boundary by at most one row.
    A unit of more than half of the rows stays in `rest`, which would be too small without it.
    """
    splits = np.full(len(sizes), rest, dtype=object)
    cut = sizes <= sizes.sum() / 2 if len(sizes) > 1 else np.ones(len(sizes), bool)
    splits[cut] = _cut_in_order(sizes[cut], int(sizes.sum()), shares, rest)
    return splits


def _cut_in_order(sizes: np.ndarray, rows: int, shares: dict[str, float], rest: str) -> np.ndarray:
    first = np.cumsum(sizes) - sizes
    splits = np.full(len(sizes), rest, dtype=object)
    begin, total = 0, 0.0
    for name, fraction in shares.items():
        total += fraction
        end = max(begin + (fraction > 0), int(rows * total + 0.5))
        in_split = (first >= begin) & (first < end)
        splits[in_split] = name
        begin = max(end, int((first + sizes)[in_split].max(initial=0)))
    return splits
