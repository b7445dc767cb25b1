"""The table of robustness on planted probabilities."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from glasshead.audit.robustness import CLEAN, Condition, robustness_table

LABELS = np.tile([0, 1], 50)
MILD, STRONG = Condition("noise", 1.0, "px"), Condition("noise", 2.0, "px")


def sure_of(predicted: np.ndarray, confidence: float) -> np.ndarray:
    return np.where(np.eye(2)[predicted] > 0, confidence, 1 - confidence)


@pytest.fixture
def table() -> pd.DataFrame:
    """Clean: 90 of 100 right; mild: the same; strong: 40 of those wrong too. Confidence 0.9 throughout."""
    clean, strong = LABELS.copy(), LABELS.copy()
    clean[:10] = 1 - clean[:10]
    strong[:50] = 1 - strong[:50]
    probabilities = {
        CLEAN: sure_of(clean, 0.9),
        MILD: sure_of(clean, 0.9),
        STRONG: sure_of(strong, 0.9),
    }
    assert accuracy_score(LABELS, strong) == 0.5
    return robustness_table(probabilities, LABELS, n_resamples=400, seed=0)


def test_values_are_those_planted(table):
    assert table["perturbation"].tolist() == ["clean", "noise", "noise"]
    assert table["strength"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(table["accuracy"], [0.9, 0.9, 0.5])
    np.testing.assert_allclose(table["difference"], [0, 0, -0.4])
    np.testing.assert_allclose(table["ece"], [0, 0, 0.4], atol=1e-12)
    np.testing.assert_allclose(table["confidence"], 0.9)
    assert (table["n"] == 100).all()


def test_intervals_are_paired_by_image(table):
    """The images that change nothing add nothing to a difference: its interval is that of a fraction of 0.4."""
    assert table.loc[1, ["difference_low", "difference_high"]].tolist() == [0, 0]
    half = 1.96 * np.sqrt(0.4 * 0.6 / 100)
    np.testing.assert_allclose(
        table.loc[2, ["difference_low", "difference_high"]].astype(float),
        [-0.4 - half, -0.4 + half],
        atol=0.03,
    )
    assert (table["low"] < table["accuracy"]).all()
    assert (table["accuracy"] < table["high"]).all()


def test_one_image_has_values_without_intervals():
    table = robustness_table({CLEAN: np.array([[0.3, 0.7]])}, np.array([1]), 50, seed=0)
    (row,) = table.to_dict("records")
    assert (row["accuracy"], row["confidence"], row["n"]) == (1, 0.7, 1)
    assert row["ece"] == pytest.approx(0.3)
    assert table[[name for name in table if name.endswith(("low", "high"))]].isna().all(axis=None)
