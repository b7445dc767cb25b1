"""Each rule of a verdict on either side of what it asks, and where it cannot tell."""

import copy
from typing import Any

import pytest

from glasshead.reporting.verdicts import (
    beats_the_probe,
    is_calibrated,
    is_right,
    looks_at_the_object,
    verdicts,
)


def between(low: float, high: float) -> dict[str, Any]:
    return {"value": (low + high) / 2, "low": low, "high": high, "n": 100, "better": "higher"}


UNDEFINED = {"value": None, "low": None, "high": None, "n": 1, "better": "higher"}
PASSES = {"randomisation": {"value": 0.1, "low": 0.0, "high": 0.2, "better": "lower"}}
FAILS = {"randomisation": {"value": 0.9, "low": 0.8, "high": 1.0, "better": "lower"}}
BASELINES = {
    "centre_gaussian": {"pointing_game": between(0.6, 0.7), **FAILS},
    "random": {"pointing_game": between(0.1, 0.2), **FAILS},
}


@pytest.mark.parametrize(
    ("accuracy", "majority", "answer"),
    [
        (between(0.91, 0.95), between(0.1, 0.2), "yes"),
        (between(0.88, 0.92), between(0.1, 0.2), "unresolved"),
        (between(0.80, 0.89), between(0.1, 0.2), "no"),
        (between(0.91, 0.95), between(0.92, 0.96), "unresolved"),  # no better than guessing
        (between(0.91, 0.95), UNDEFINED, "yes"),
        (UNDEFINED, between(0.1, 0.2), "unknown"),
    ],
)
def test_right_is_above_what_is_asked_and_above_guessing(accuracy, majority, answer):
    verdict = is_right({"accuracy": accuracy, "accuracy_majority": majority}, right_from=0.9)
    assert verdict["answer"] == answer
    assert verdict["numbers"]["accuracy"] == accuracy


@pytest.mark.parametrize(
    ("ece", "limit", "answer"),
    [(0.02, 0.02, "yes"), (0.0201, 0.02, "no"), (None, 0.02, "unknown"), (0.1, None, "unknown")],
)
def test_calibrated_is_what_a_perfect_classifier_could_show(ece, limit, answer):
    metrics = {
        "ece": UNDEFINED | {"value": ece, "n": 100},
        "ece_consistency_95": UNDEFINED | {"value": limit},
    }
    assert is_calibrated(metrics)["answer"] == answer


def test_what_scaling_has_changed_is_said(planted_report):
    metrics = planted_report.make_metrics()
    assert "Before temperature scaling" not in is_calibrated(metrics)["reason"]
    metrics["ece_uncalibrated"] = planted_report.estimate(0.0159)
    assert "Before temperature scaling it was 0.016." in is_calibrated(metrics)["reason"]


def test_few_images_decide_neither():
    """Six of six: resampled, they are always all right."""
    accuracy = {"value": 1.0, "low": 1.0, "high": 1.0, "n": 6}
    ece, limit = (UNDEFINED | {"value": value, "n": 6} for value in (0.05, 0.18))
    assert is_right({"accuracy": accuracy}, right_from=0.9)["answer"] == "unresolved"
    calibrated = is_calibrated({"ece": ece, "ece_consistency_95": limit})
    assert calibrated["answer"] == "unresolved"


@pytest.mark.parametrize(
    ("probe", "answer"),
    [
        (between(0.80, 0.89), "yes"),
        (between(0.80, 0.90), "unresolved"),
        (between(0.96, 0.99), "no"),
        (None, "unknown"),
    ],
)
def test_better_than_the_probe_is_beyond_its_interval(probe, answer):
    metrics = {"accuracy": between(0.9, 0.95)} | ({"accuracy_linear_probe": probe} if probe else {})
    assert beats_the_probe(metrics)["answer"] == answer


class TestLooking:
    @pytest.mark.parametrize(
        ("methods", "answer"),
        [
            ({"saliency": {"pointing_game": between(0.71, 0.9), **PASSES}}, "yes"),
            ({"saliency": {"pointing_game": between(0.65, 0.9), **PASSES}}, "unresolved"),
            ({"saliency": {"pointing_game": between(0.3, 0.59), **PASSES}}, "no"),
            ({"saliency": {"pointing_game": between(0.71, 0.9), **FAILS}}, "unknown"),
            ({"saliency": {"pointing_game": UNDEFINED, **PASSES}}, "unknown"),
            (
                {
                    "saliency": {"pointing_game": between(0.3, 0.4), **PASSES},
                    "occlusion": {"pointing_game": between(0.8, 0.9), **PASSES},
                    "shapley": {"completeness_gap": between(0, 1)},  # of concepts, not pixels
                },
                "yes",
            ),
        ],
    )
    def test_it_points_at_the_object_beyond_the_best_baseline(self, methods, answer):
        assert looks_at_the_object(methods | BASELINES)["answer"] == answer

    def test_without_masks_nothing_is_known(self):
        baselines = {name: FAILS | {"pointing_game": UNDEFINED} for name in BASELINES}
        verdict = looks_at_the_object(
            {"saliency": {"pointing_game": UNDEFINED, **PASSES}} | baselines
        )
        assert verdict["answer"] == "unknown"
        assert "ingest.image_folder.masks" in verdict["reason"]

    def test_methods_that_fail_the_check_say_nothing(self):
        failing = {"saliency": {"pointing_game": between(0.7, 0.9), **FAILS}}
        verdict = looks_at_the_object(failing | BASELINES)
        assert verdict["answer"] == "unknown"
        assert "passes the randomisation check" in verdict["reason"]

    @pytest.mark.parametrize(("mass", "answer"), [((0.3, 0.4), "no"), ((0.05, 0.2), "yes")])
    def test_maps_on_a_planted_mark_outweigh_the_pointing_game(self, mass, answer):
        explanations = copy.deepcopy(BASELINES)
        explanations["random"]["mass_on_mark"] = between(0.02, 0.1)
        explanations["saliency"] = {
            "pointing_game": between(0.8, 0.9),
            "mass_on_mark": between(*mass),
            **PASSES,
        }
        verdict = looks_at_the_object(explanations)
        assert verdict["answer"] == answer
        assert ("saliency/mass_on_mark" in verdict["numbers"]) == (answer == "no")


def test_every_verdict_says_its_rule_and_the_numbers_it_rests_on(planted_report):
    subject = planted_report.make_subject()
    found = verdicts(subject.metrics, subject.explanations, 0.9)
    assert [each["answer"] for each in found] == ["yes", "no", "yes", "unresolved"]
    assert all(each["rule"] and each["reason"] and each["numbers"] for each in found)
