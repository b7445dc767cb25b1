"""Classes, and values of attributes, in which accuracy on test rows is below that of the rest."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from glasshead.audit.findings import Finding, Severity, not_checked
from glasshead.audit.mistakes import check_rows, mistakes_of, surest
from glasshead.calibration.bootstrap import Estimate
from glasshead.calibration.differences import stratified_difference
from glasshead.errors import ArtifactError

LEAST_ROWS, LEAST_MISTAKES = 20, 5  # of a group, for it to be compared and to be told of
HIGH, MEDIUM = 0.1, 0.05  # of accuracy


@dataclass(frozen=True)
class WeakGroup:
    """Test rows of a group, and how far their accuracy is below the rest's, one of several `comparisons`."""

    test: pd.DataFrame
    difference: Estimate
    comparisons: int

    @property
    def mistakes(self) -> pd.DataFrame:
        """The rows that are wrong."""
        return mistakes_of(self.test)

    @property
    def accuracy(self) -> float:
        """The share of rows that are right."""
        return 1 - len(self.mistakes) / len(self.test)

    @property
    def distance(self) -> str:
        """The difference in words, in points with its interval."""
        low, value, high = (
            -100 * (bound or 0)
            for bound in (self.difference.high, self.difference.value, self.difference.low)
        )
        return f"{value:.1f} points ({low:.1f}–{high:.1f}) below"

    @property
    def severity(self) -> Severity:
        """High or medium where even the end of the interval nearest to 0 is so far below, else low."""
        least = -(self.difference.high or 0)
        return "high" if least >= HIGH else "medium" if least >= MEDIUM else "low"

    @property
    def evidence(self) -> dict[str, Any]:
        """The numbers."""
        return {
            "accuracy": self.accuracy,
            "images": len(self.test),
            "mistakes": len(self.mistakes),
            "difference": {
                "value": self.difference.value,
                "low": self.difference.low,
                "high": self.difference.high,
            },
            "comparisons": self.comparisons,
            "correction": "Bonferroni",
        }


def weak_classes(test: pd.DataFrame) -> list[Finding]:
    """Return a finding for each class whose accuracy is below that of all others together, with its whole interval.

    All intervals hold at once with 95 % (Bonferroni, over the classes with at least `LEAST_ROWS` rows). Raises
    ArtifactError as `check_rows` does.
    """
    check_rows(test)
    findings = []
    for (_, label), weak in _weak_groups(test, {"label": test["label"]}, np.zeros(len(test), int)):
        taken_for = weak.mistakes["predicted"].value_counts()
        often = taken_for.index[0]
        findings.append(
            Finding(
                check="class_accuracy",
                severity=weak.severity,
                summary=(
                    f"Of {len(weak.test):,} test images of {label!r}, {_percent(weak.accuracy)} are right, "
                    f"{weak.distance} the other classes; {taken_for.iloc[0]:,} of {len(weak.mistakes):,} mistakes say "
                    f"{often!r}."
                ),
                evidence=weak.evidence
                | {"taken_for": {str(name): int(count) for name, count in taken_for.items()}},
                rows=surest(weak.mistakes),
                advice=(
                    f"Look at these images beside some of {often!r}. Where labels are mixed up, correct them; else add "
                    f"training images of {label!r} like these."
                ),
            )
        )
    return findings


def weak_values(test: pd.DataFrame, attributes: pd.DataFrame) -> list[Finding]:
    """Return a finding for each value of an attribute with which accuracy is below that of the same classes without.

    `attributes` has the rows of `test` and a column per attribute; rows without a value are left out of its comparison.
    Images are compared within their class, so that a value is not blamed for the classes it goes with. Intervals as in
    `weak_classes`, over the values of all attributes. Where there are none, the finding says so.

    Raises ArtifactError where `attributes` have another number of rows, and as `check_rows` does.
    """
    check_rows(test)
    if len(attributes) != len(test):
        raise ArtifactError(
            f"There are {len(test):,} test predictions, but attributes of {len(attributes):,} images. Run the "
            "calibrate pipeline again."
        )
    if attributes.columns.empty:
        return [
            not_checked(
                "attribute_accuracy",
                "the image table has no attributes",
                "Name columns such as background or camera as attribute_columns of the source, and run from ingest on.",
            )
        ]
    classes, _ = pd.factorize(test["label"])
    columns = {str(name): attributes[name] for name in attributes}
    return [
        Finding(
            check="attribute_accuracy",
            severity=weak.severity,
            summary=(
                f"Of {len(weak.test):,} test images with {name} {value!r}, {_percent(weak.accuracy)} are right, "
                f"{weak.distance} other images of the same classes."
            ),
            evidence={"attribute": name, "value": value} | weak.evidence,
            rows=surest(weak.mistakes),
            advice=(
                f"Add training images with {name} {value!r} of every class, or an augmentation that makes them alike; "
                "until then, trust the classifier less there."
            ),
        )
        for (name, value), weak in _weak_groups(test, columns, classes)
    ]


def _weak_groups(
    test: pd.DataFrame, columns: Mapping[str, pd.Series], strata: Int[np.ndarray, " n"]
) -> Iterator[tuple[tuple[str, str], WeakGroup]]:
    """Yield column, value and rows of the groups that are below the rest, the lowest first."""
    right = (test["predicted"] == test["label"]).to_numpy(bool)
    compared = [
        (name, value, column)
        for name, column in columns.items()
        for value, count in column.value_counts().items()
        if count >= LEAST_ROWS
    ]
    weak = []
    for name, value, column in compared:
        known, group = column.notna().to_numpy(bool), (column == value).to_numpy(bool)
        difference = stratified_difference(right[known], group[known], strata[known], len(compared))
        enough = (group & ~right).sum() >= LEAST_MISTAKES
        if enough and difference.high is not None and difference.high < 0:
            weak.append(((name, str(value)), WeakGroup(test[group], difference, len(compared))))
    yield from sorted(weak, key=lambda each: each[1].difference.value or 0)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
