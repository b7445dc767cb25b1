"""Confident mistakes, against planted wrong labels."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from glasshead.audit.mistakes import (
    CONFIDENT,
    SHOWN,
    concept_leakage,
    confident_mistakes,
    confused_classes,
)

OTHER = {"bird": "cat", "cat": "dog", "dog": "ship", "ship": "bird"}


def relabelled(test, count):
    """Return `test` with another label in `count` of the rows that are sure and right, and their ids."""
    sure = test[(test["confidence"] >= CONFIDENT) & (test["label"] == test["predicted"])]
    rows = sure.sample(count, random_state=0).index
    labels = test["label"].copy()
    labels[rows] = labels[rows].map(OTHER)
    return test.assign(label=labels), set(test.loc[rows, "image_id"])


def test_planted_wrong_labels_are_the_rows(answers):
    right = answers()
    test, planted = relabelled(right.assign(predicted=right["label"]), 30)
    found = confident_mistakes(test)
    assert set(found["rows"]) == planted
    assert found["evidence"]["mistakes"] == 30
    assert found["severity"] == "high"
    confidence = test.set_index("image_id")["confidence"][found["rows"]]
    assert confidence.is_monotonic_decreasing


def test_wrong_labels_beside_usual_mistakes_come_to_light(answers):
    test, planted = relabelled(answers(), 40)
    found = confident_mistakes(test)
    assert len(found["rows"]) == min(SHOWN, found["evidence"]["mistakes"])
    assert len(planted & set(found["rows"])) > 25
    assert found["severity"] == "high"


@pytest.mark.parametrize("seed", range(5))
def test_as_many_mistakes_as_the_confidences_promise_are_low(answers, seed):
    found = confident_mistakes(answers(seed=seed))
    assert found["severity"] == "low"
    numbers = found["evidence"]
    mean = numbers["expected"] / numbers["images"]
    exact = binomtest(numbers["mistakes"], numbers["images"], mean, "greater").pvalue
    assert numbers["p"] == pytest.approx(exact, abs=0.02)


def test_more_than_expected_but_fewer_than_twice_as_many_are_medium():
    n = 10_000
    test = pd.DataFrame({"image_id": np.arange(n).astype(str), "label": "cat", "confidence": 0.96})
    test = test.assign(predicted=np.where(np.arange(n) < 500, "dog", "cat"))
    assert confident_mistakes(test)["severity"] == "medium"
    assert confident_mistakes(test)["evidence"]["expected"] == pytest.approx(400)


@pytest.mark.parametrize(
    ("mistakes", "confidence", "severity", "number"),
    [
        (1, 0.99999, "low", "0.002"),
        (4, 0.99999, "low", "0.002"),
        (5, 0.99999, "high", "0.002"),
        (5, 0.98, "low", "4.0"),
        (5, 1, "high", "0"),
    ],
)
def test_few_mistakes_are_single_images(mistakes, confidence, severity, number):
    test = pd.DataFrame({"image_id": np.arange(200).astype(str), "label": "cat"})
    wrong = np.arange(200) < mistakes
    test = test.assign(predicted=np.where(wrong, "dog", "cat"), confidence=confidence)
    found = confident_mistakes(test)
    assert found["severity"] == severity
    assert f"{number} mistakes would be expected" in found["summary"]
    assert len(found["rows"]) == mistakes


def test_mistakes_below_the_threshold_are_not_told_of(answers):
    test = answers()
    sure = test["confidence"] >= CONFIDENT
    test.loc[sure, "predicted"] = test.loc[sure, "label"]
    assert confident_mistakes(test) is None


class TestConfusedClasses:
    def pairs(self, *rows):
        columns = ["true", "predicted", "count", "fraction", "examples"]
        return pd.DataFrame([[*row, f'["{row[0]}/{row[1]}"]'] for row in rows], columns=columns)

    def test_pairs_that_take_more_than_chance_are_named_with_their_images(self):
        pairs = self.pairs(
            ("cat", "dog", 16, 0.4),
            ("dog", "cat", 9, 0.09),
            ("cat", "ship", 2, 0.05),
            ("dog", "car", 1, 0.01),
        )
        found = confused_classes(pairs, 10)
        assert found["summary"] == (
            "It takes cat for dog in 16 images (40 % of its class); dog for cat in 9 images (9 % of its class)."
        )
        assert found["rows"] == ["cat/dog", "dog/cat"]
        assert found["severity"] == "medium"
        assert confused_classes(pairs.iloc[1:2], 10)["severity"] == "low"

    def test_mistakes_that_are_spread_evenly_or_have_one_way_to_go_are_none(self):
        even = self.pairs(*(("cat", other, 6, 0.06) for other in "abcdefghi"))
        assert confused_classes(even, 10) is None
        assert confused_classes(self.pairs(("yes", "no", 40, 0.4)), 2) is None
        assert confused_classes(self.pairs(("cat", "dog", 4, 0.4)), 10) is None
        assert confused_classes(self.pairs(), 10) is None


class TestConceptLeakage:
    @pytest.mark.parametrize(
        ("hard", "severity"), [(0.4, "high"), (0.9, "medium"), (0.945, None), (None, None)]
    )
    def test_arg_max_concepts_that_lose_accuracy(self, hard, severity):
        metrics = {"accuracy": {"value": 0.95, "low": 0.94, "high": 0.96}}
        if hard is not None:
            metrics["accuracy_hard_concepts"] = {
                "value": hard,
                "low": hard - 0.01,
                "high": hard + 0.01,
            }
        found = concept_leakage(metrics)
        assert (found and found["severity"]) == severity
