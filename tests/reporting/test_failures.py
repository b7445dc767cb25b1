"""Sentences on failure: what is named, and that each names where its numbers stand."""

import pandas as pd
import pytest

from glasshead.reporting.failures import failures


@pytest.fixture
def found(planted_report):
    return planted_report.make_summary()["failures"]


def sentences(found, source):
    return [each["sentence"] for each in found if each["source"] == source]


def test_confused_pairs_come_with_counts_and_share(found):
    (sentence,) = sentences(found, "confused_pairs.csv")
    assert "“cat” is taken for “dog” in 16 of its 40 test images (a share of 0.4)" in sentence


def test_the_weakest_class_and_one_without_images_are_named(found):
    weak, unknown = sentences(found, "class_recall.csv")
    assert weak.startswith("The recall of “cat” is 0.6 (0.45 to 0.74) on 40 test images, below")
    assert "1 of 3 classes" in unknown
    assert "“ship”" in unknown


def test_only_ranges_whose_confidence_is_outside_the_interval_are_uncalibrated(found):
    (sentence,) = sentences(found, "reliability.csv")
    assert sentence.startswith("Between 0.6 and 0.7, its confidence is 0.66 on average")
    assert sentence.endswith("overconfident.")


def test_concepts_and_methods_that_fail_are_named(found):
    assert "“legs” is answered right in 0.7 (0.69 to 0.71)" in found[4]["sentence"]
    assert found[4]["source"] == "metrics.json: subtask/legs/accuracy"
    assert "occlusion" in found[5]["sentence"]
    assert found[5]["source"] == "explanations.json: occlusion/randomisation"
    assert len(found) == 6


@pytest.mark.parametrize(
    ("hard", "chance", "sources"),
    [
        (0.5, 0.3, ["accuracy_hard_concepts"]),
        (0.945, 0.945, ["accuracy_random_concepts"]),
        (None, None, []),
    ],
)
def test_controls_speak_where_their_intervals_do(planted_report, hard, chance, sources):
    tables, estimate = planted_report.make_tables(["cat", "dog"]), planted_report.estimate
    metrics = {
        "accuracy": estimate(0.95),
        "accuracy_hard_concepts": estimate(hard),
        "accuracy_random_concepts": estimate(chance),
    }
    found = failures(metrics, explanations={}, **tables)
    named = [each["source"] for each in found if "accuracy_" in each["source"]]
    assert named == [f"metrics.json: {source}" for source in sources]


def test_a_classifier_without_a_mistake_has_no_failure():
    recall = pd.DataFrame({"class": ["cat"], "n": 9, "recall": 1.0, "low": 0.7, "high": 1.0})
    pairs = pd.DataFrame(columns=["true", "predicted", "count", "share", "examples"])
    bins = {"from": [0.9], "to": 1.0, "n": 9, "confidence": 0.97, "accuracy": 1.0}
    reliability = pd.DataFrame(bins | {"low": [0.7], "high": [1.0]})
    metrics = {"accuracy": {"value": 1.0, "low": 1.0, "high": 1.0, "n": 9}}
    assert failures(metrics, recall, pairs, reliability, {}) == []


@pytest.mark.parametrize(("end", "told"), [(0.97, True), (1.0, False), (None, False)])
def test_what_corrected_concepts_leave_wrong_is_told(planted_report, end, told):
    values = {"00": 0.95, "mean": 0.96, "9": 0.96, "100": end}  # as many concepts as that
    steps = {
        f"intervention/random/{count}": planted_report.estimate(value)
        for count, value in values.items()
    }
    tables = planted_report.make_tables(planted_report.CLASSES)
    given = steps if end else None
    found = failures(planted_report.make_metrics(), explanations={}, interventions=given, **tables)
    sentences = [each["sentence"] for each in found if "interventions.json" in each["source"]]
    assert bool(sentences) == told
    if told:
        assert "accuracy is 0.97 (0.96 to 0.98) after 0.95 (0.94 to 0.96)" in sentences[0]
