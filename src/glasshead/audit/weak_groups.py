"""Findings on classes and attribute values whose accuracy on test rows is below the accuracy of the others."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from glasshead.audit.findings import ATTRIBUTES_ADVICE, Finding, Severity, not_checked
from glasshead.audit.mistakes import LEAST_MISTAKES, mistakes_of, surest
from glasshead.calibration.differences import GroupCounts, count_groups, stratified_differences

LEAST_ROWS = 20  # comparable test rows that a group needs for a comparison
MOST = 20  # findings that a check lists; it only counts the others
HIGH, MEDIUM = 0.1, 0.05  # least difference in accuracy for each severity


@dataclass(frozen=True)
class WeakGroup:
    """A group of test rows (one value of one column) whose accuracy is below that of the other rows.

    `test` holds the group's rows in strata that also hold other values. `value`, `low` and `high` are the difference in
    accuracy and its interval, as fractions. The interval is corrected for `comparisons` comparisons.
    """

    column: str
    name: str
    test: pd.DataFrame
    value: float
    low: float
    high: float
    comparisons: int

    @property
    def mistakes(self) -> pd.DataFrame:
        """The rows whose prediction is wrong."""
        return mistakes_of(self.test)

    @property
    def accuracy(self) -> str:
        """The accuracy in percent, as text."""
        return f"{100 - 100 * len(self.mistakes) / len(self.test):.1f} %"

    @property
    def distance(self) -> str:
        """The difference with its interval, in percentage points, as text."""
        return (
            f"{-100 * self.value:.1f} points ({-100 * self.high:.1f}–{-100 * self.low:.1f}) below"
        )

    @property
    def severity(self) -> Severity:
        """High or medium if the end of the interval nearest to 0 is at least `HIGH` or `MEDIUM` below 0, else low."""
        return "high" if -self.high >= HIGH else "medium" if -self.high >= MEDIUM else "low"

    @property
    def evidence(self) -> dict[str, Any]:
        """The numbers behind the finding, all on the same rows."""
        return {
            "accuracy": 1 - len(self.mistakes) / len(self.test),
            "n": len(self.test),
            "mistakes": len(self.mistakes),
            "difference": {"value": self.value, "low": self.low, "high": self.high},
            "comparisons": self.comparisons,
            "correction": "Bonferroni",
        }


@dataclass(frozen=True)
class Comparison:
    """The `MOST` + 1 worst of `total` weak groups, and the columns that could not be compared."""

    worst: list[WeakGroup]
    total: int
    lacking: list[str]

    def findings(
        self, check: str, describe: Callable[[str, WeakGroup], Finding], others: str, advice: str
    ) -> list[Finding]:
        """Return findings on the `MOST` worst groups, one that counts the others, and one on columns not compared.

        `describe` makes a group's finding. The finding that counts the others, called `others` in the text, is as
        severe as the worst of them. `advice` goes with the finding on the columns that were not compared.
        """
        findings = [describe(check, weak) for weak in self.worst[:MOST]]
        if self.total > MOST:
            more = Finding(
                check=check,
                severity=self.worst[MOST].severity,
                summary=f"And {self.total - MOST:,} more {others}.",
                evidence={"more": self.total - MOST},
                rows=[],
                advice=f"Begin with the {MOST} worst, and run again.",
            )
            findings.append(more)
        if self.lacking:
            findings.append(not_checked(check, "; ".join(self.lacking), advice))
        return findings


def weak_classes(test: pd.DataFrame) -> list[Finding]:
    """Return a finding for each class whose accuracy is below that of the other classes: its whole interval is below 0.

    The intervals hold simultaneously with 95 % (Bonferroni over the classes with at least `LEAST_ROWS` rows). The worst
    come first; those beyond `MOST` are only counted. If no class can be compared, a finding says so.
    """
    compared = _compare(test, {"label": test["label"]}, np.zeros(len(test), int))
    return compared.findings(
        "class_accuracy",
        _class_finding,
        "classes that are right less often than the others",
        f"Take more test images: at least {LEAST_ROWS} of each of two classes or more.",
    )


def weak_values(test: pd.DataFrame, attributes: pd.DataFrame) -> list[Finding]:
    """Return a finding for each attribute value whose accuracy is below that of other images of the same classes.

    `attributes` has the rows of `test` and a column for each attribute. Rows without a value are left out. Images are
    compared within their class, so that a value common in difficult classes is not blamed for them; all numbers cover
    only classes that have images both with and without the value. Intervals and order are as in `weak_classes`. A
    finding names the attributes that cannot be compared.
    """
    check = "attribute_accuracy"
    if attributes.columns.empty:
        return [not_checked(check, "the image table has no attributes", ATTRIBUTES_ADVICE)]
    classes, _ = pd.factorize(test["label"])
    compared = _compare(test, {str(name): attributes[name] for name in attributes}, classes)
    return compared.findings(
        check,
        _value_finding,
        "values of attributes that are right less often than others",
        f"A comparison needs {LEAST_ROWS} test images with a value, in classes that hold other values too: add such "
        "images, or leave the attribute out.",
    )


def _class_finding(check: str, weak: WeakGroup) -> Finding:
    taken_for = weak.mistakes["predicted"].value_counts()
    often = taken_for.index[0]
    return Finding(
        check=check,
        severity=weak.severity,
        summary=(
            f"Of {len(weak.test):,} test images of {weak.name!r}, {weak.accuracy} are right, {weak.distance} the other "
            f"classes. {taken_for.iloc[0]:,} of {len(weak.mistakes):,} mistakes are {often!r}."
        ),
        evidence=weak.evidence
        | {"taken_for": {str(name): int(count) for name, count in taken_for.items()}},
        rows=surest(weak.mistakes),
        advice=(
            f"Look at these images beside some of {often!r}. Where labels are mixed up, correct them; else add "
            f"training images of {weak.name!r} like these."
        ),
    )


def _value_finding(check: str, weak: WeakGroup) -> Finding:
    return Finding(
        check=check,
        severity=weak.severity,
        summary=(
            f"Of {len(weak.test):,} comparable test images with {weak.column} {weak.name!r}, {weak.accuracy} are "
            f"right, {weak.distance} other images of the same classes."
        ),
        evidence={"attribute": weak.column, "value": weak.name} | weak.evidence,
        rows=surest(weak.mistakes),
        advice=(
            f"Add training images with {weak.column} {weak.name!r} of every class, or an augmentation that makes them "
            "alike; until then, trust the classifier less there."
        ),
    )


def _compare(
    test: pd.DataFrame, columns: Mapping[str, pd.Series], strata: Int[np.ndarray, " n"]
) -> Comparison:
    """Compare each value of each column with the other values, from counts.

    The worst groups are those whose upper interval end is farthest below 0, as this end decides the severity.
    """
    right = (test["predicted"] == test["label"]).to_numpy(bool)
    coded = {name: pd.factorize(column) for name, column in columns.items()}
    counted = {name: count_groups(right, codes, strata) for name, (codes, _) in coded.items()}
    enough = {name: counts.by_group(counts.n1) >= LEAST_ROWS for name, counts in counted.items()}
    comparisons = sum(int(counts.sum()) for counts in enough.values())
    weak = []
    for column, counts in counted.items():
        differences = stratified_differences(counts, max(comparisons, 1))
        mistakes = counts.by_group(counts.n1 - counts.y1)
        below = enough[column] & (mistakes >= LEAST_MISTAKES) & (differences[2] < 0)
        codes_below = np.flatnonzero(below).tolist()
        weak += [(differences[:, code].tolist(), column, code) for code in codes_below]
    weak.sort(key=lambda group: group[0][2])
    worst = []
    for (value, low, high), column, code in weak[: MOST + 1]:
        codes, names = coded[column]
        rows = _rows(counted[column], codes, strata, code)
        worst.append(
            WeakGroup(column, str(names[code]), test.iloc[rows], value, low, high, comparisons)
        )
    lacking = [
        f"{name} has {_lacks(counts)}" for name, counts in counted.items() if not enough[name].any()
    ]
    return Comparison(worst, len(weak), lacking)


def _rows(
    counts: GroupCounts, codes: Int[np.ndarray, " n"], strata: Int[np.ndarray, " n"], code: int
) -> Int[np.ndarray, " rows"]:
    """Return the rows of the group in strata that also hold other groups."""
    rows = np.flatnonzero(codes == code)
    return rows[np.isin(strata[rows], counts.stratum[counts.group == code])]


def _lacks(counts: GroupCounts) -> str:
    """Return why no value of a column can be compared."""
    if counts.size == 0:
        return "no value in the test images"
    if counts.size == 1:
        return "one value only in the test images"
    if len(counts.group) == 0:
        return "one value only in each class"
    return f"no value of {LEAST_ROWS} test images that have others beside them"
