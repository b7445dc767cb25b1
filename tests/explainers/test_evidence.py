"""Measures of explanations against hand computation."""

import numpy as np
import pytest

from glasshead.explainers.attribution import Attribution
from glasshead.explainers.evidence import completeness


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
    assert found["completeness_gap"] == {"value": 0, "low": 0, "high": 0, "better": "lower"}
    assert found["completeness_gap_relative"]["value"] is None
