"""Measures of explanations against hand computation."""

import numpy as np
import pytest

from glasshead.explainers.attribution import Attribution
from glasshead.explainers.measures import completeness, summarise


def test_completeness_is_the_mean_gap_and_its_share_of_the_step():
    explained = Attribution(
        values=np.array([[1.0, 1.0], [0.0, 3.0], [2.0, 2.0]]),
        base=np.zeros(3),
        output=np.array([2.5, 3.0, 4.5]),
    )
    found = completeness(explained, 500, seed=0)
    assert found["completeness_gap"]["value"] == pytest.approx(1 / 3)
    assert found["completeness_gap_relative"]["value"] == pytest.approx(1 / 10)
    for measure in found.values():
        assert measure["low"] == pytest.approx(0)  # a resample of the complete image alone
        assert measure["value"] < measure["high"] <= 0.5
        assert measure["better"] == "lower"


def test_nothing_to_explain_has_no_relative_gap():
    explained = Attribution(np.zeros((4, 2)), base=np.ones(4), output=np.ones(4))
    found = completeness(explained, 50, seed=0)
    assert found["completeness_gap"] == {"value": 0, "low": 0, "high": 0, "better": "lower", "n": 4}
    assert found["completeness_gap_relative"]["value"] is None


def test_images_without_an_answer_do_not_count():
    found = summarise({"iou": np.tile([0.2, np.nan, 0.4], 9), "infidelity": np.ones(27)}, 500, 0)
    assert found["iou"]["value"] == pytest.approx(0.3)
    assert 0.2 <= found["iou"]["low"] < 0.3 < found["iou"]["high"] <= 0.4 + 1e-12
    assert found["iou"]["better"] == "higher"
    assert found["iou"]["n"] == 18
    assert found["infidelity"] == {"value": 1, "low": 1, "high": 1, "better": "lower", "n": 27}


def test_a_measure_without_any_answer_is_null():
    found = summarise({"iou": np.full(4, np.nan)}, 50, 0)["iou"]
    assert found == {"value": None, "low": None, "high": None, "better": "higher", "n": 0}
