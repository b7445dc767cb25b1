"""The node that looks for faults of a classifier, on planted ones."""

import json
import logging

import numpy as np
import pandas as pd
import pytest

from glasshead.calibration.params import EvaluateParams
from glasshead.errors import ArtifactError
from glasshead.pipelines.evaluate.audit_nodes import find_faults
from glasshead.pipelines.evaluate.nodes import find_confused_pairs

N = 900
METRICS = {
    "accuracy": {"value": 0.9, "low": 0.89, "high": 0.91, "n": N},
    "ece": {"value": 0.01, "low": 0.0, "high": 0.02, "n": N},
    "ece_consistency_95": {"value": 0.02, "low": None, "high": None, "n": N},
}
RELIABILITY = pd.DataFrame(
    {"from": [0.9], "to": [1.0], "n": [N], "confidence": [0.93], "accuracy": [0.7]}
).assign(low=0.67, high=0.73)
PAIRS = pd.DataFrame(columns=["true", "predicted", "count", "fraction", "examples"])
LIGHT = np.where(np.arange(N) % 4, "day", "night")
SURE = ["test/112", "test/28", "test/4", "test/56", "test/84"]  # among the planted mistakes


def tables(**attributes):
    """Return test predictions that are all right, and their samples in another order, among train rows."""
    identity = pd.DataFrame(
        {
            "image_id": [f"test/{row}" for row in range(N)],
            "split": "test",
            "label": np.resize(["bird", "cat", "dog"], N),
        }
    )
    test = identity.assign(predicted=identity["label"], confidence=0.93)
    samples = identity.assign(**{f"attribute/{name}": each for name, each in attributes.items()})
    train = samples.assign(image_id="train/" + samples["image_id"], split="train")
    probabilities = {f"probability/{name}": 0.0 for name in ("bird", "cat", "dog", "ship")}
    return test.assign(**probabilities), pd.concat([train, samples[::-1]], ignore_index=True)


def answer(test, rows, predicted):
    return test.assign(predicted=test["predicted"].where(~rows, predicted))


def test_each_planted_fault_is_found_the_severest_first():
    test, samples = tables(light=LIGHT)
    test = answer(test, (LIGHT == "night") & (np.arange(N) % 7 == 0), "ship")
    test = answer(test, (test["label"] == "cat") & (np.arange(N) // 12 % 2 == 0), "dog")
    sure = test["image_id"].isin(SURE)
    test = test.assign(confidence=test["confidence"].where(~sure, 0.999))
    metrics = METRICS | {"ece": METRICS["ece"] | {"value": 0.05}}
    found = find_faults(
        test, samples, metrics, find_confused_pairs(test, EvaluateParams()), RELIABILITY
    )
    by_check = {each["check"]: each for each in found}
    assert {name: each["severity"] for name, each in by_check.items()} == {
        "class_accuracy": "high",
        "attribute_accuracy": "medium",
        "confident_mistakes": "high",
        "confused_classes": "medium",
        "miscalibration": "medium",
    }
    assert [each["severity"] for each in found] == ["high", "high", "medium", "medium", "medium"]
    assert by_check["confident_mistakes"]["rows"] == SURE
    assert by_check["attribute_accuracy"]["evidence"]["value"] == "night"
    nights = set(test.loc[LIGHT == "night", "image_id"])
    assert set(by_check["attribute_accuracy"]["rows"]) <= nights
    assert "'cat'" in by_check["class_accuracy"]["summary"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_without_a_fault_the_list_is_empty_and_the_log_says_so(caplog):
    with caplog.at_level(logging.INFO):
        assert find_faults(*tables(light=LIGHT), METRICS, PAIRS, RELIABILITY) == []
    assert "The checks of the classifier found no faults" in caplog.text


def test_without_attributes_their_check_says_that_it_was_not_made():
    (found,) = find_faults(*tables(), METRICS, PAIRS, RELIABILITY)
    assert found["check"] == "attribute_accuracy"
    assert found["summary"].startswith("Not checked")


@pytest.mark.parametrize("light", ["day", None])
def test_an_attribute_that_says_nothing_is_not_called_checked(light):
    (found,) = find_faults(*tables(light=light), METRICS, PAIRS, RELIABILITY)
    assert found["check"] == "attribute_accuracy"
    assert found["summary"].startswith("Not checked: light has")


def test_samples_that_lack_test_rows_are_refused():
    test, samples = tables(light="day")
    with pytest.raises(ArtifactError, match="belong to other samples"):
        find_faults(test, samples.iloc[:-1], METRICS, PAIRS, RELIABILITY)
