"""Which methods the evidence ranks first."""

import pytest

from glasshead.explainers.standing import best_methods, standing


def measures(insertion: float | None = None, randomisation: float | None = 0.1) -> dict:
    def measure(value):
        return {"value": value, "low": value, "high": value, "better": "higher"}

    return {"insertion_auc": measure(insertion), "randomisation": measure(randomisation)}


@pytest.mark.parametrize(
    ("similarity", "expected"), [(0.2, "passes"), (0.95, "fails"), (None, "fails")]
)
def test_a_method_stands_as_its_randomisation_check_says(similarity, expected):
    assert standing("lime", {"lime": measures(0.5, similarity)}) == expected


def test_one_whose_interval_holds_the_threshold_is_open():
    known = measures(0.5, 0.69)
    known["randomisation"]["high"] = 0.75
    assert standing("lime", {"lime": known}) == "unresolved"
    evidence = {"lime": known, "occlusion": measures(0.1), "saliency": measures(0.9, 0.9)}
    assert best_methods(evidence, evidence, 9) == ["occlusion"]
    del evidence["occlusion"]
    assert best_methods(evidence, evidence, 9) == ["lime"]


def test_a_method_without_that_measure_is_not_checked():
    checked = measures(0.5)
    del checked["randomisation"]
    assert standing("lime", {"lime": checked}) == standing("lime", {}) == "not checked"


def test_the_best_have_the_highest_insertion_of_those_that_pass():
    evidence = {
        "saliency": measures(0.5),
        "attention_rollout": measures(0.9, randomisation=0.99),
        "occlusion": measures(0.7),
        "lime": measures(None),
    }
    assert best_methods(evidence, evidence, 9) == ["occlusion", "saliency", "lime"]
    assert best_methods(evidence, evidence, 1) == ["occlusion"]
    assert best_methods(["attention_rollout", "unknown"], evidence, 2) == ["unknown"]


def test_where_all_fail_the_best_of_them_is_left():
    evidence = {"lime": measures(0.4, 0.9), "occlusion": measures(0.6, 0.8)}
    assert best_methods(evidence, evidence, 1) == ["occlusion"]
    assert best_methods([], evidence, 1) == []
