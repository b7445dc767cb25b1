"""Attributes that go with a risk, in the scores or in the data, against planted ones."""

import numpy as np
import pytest
from scipy.stats import f_oneway

from glasshead.audit.attributes import data_finding, explained_fraction, score_finding

N = 600


def data(bias: float, leak: float, seed: int = 0):
    """Return risk, an attribute that goes with it in a fraction `bias` of rows, and scores that read it too."""
    rng = np.random.default_rng(seed)
    has_risk = rng.random(N) < 0.4
    place = np.where(rng.random(N) < bias, has_risk, rng.random(N) < 0.5)
    values = np.where(place, "night", "day").astype(object)
    scores = 4.0 * has_risk + leak * place + rng.normal(size=N)
    return has_risk, values, scores


IDS = np.array([f"test/{row}" for row in range(N)])


@pytest.mark.parametrize("seed", range(5))
def test_an_attribute_that_says_nothing_is_not_told_of(seed):
    has_risk, values, scores = data(0, 0, seed)
    assert score_finding("car", "light", scores, has_risk, values, IDS, 0) is None
    both = (values, has_risk)
    assert data_finding("car", "light", both, both, scores, 200, 0) is None


def test_a_score_that_reads_the_attribute_is_found_even_in_balanced_data():
    has_risk, values, scores = data(0, 1.5)
    found = score_finding("car", "light", scores, has_risk, values, IDS, 0)
    assert "highest for night" in found["summary"]
    rows = np.array([int(name.split("/")[1]) for name in found["rows"]])
    assert (values[rows] == "night").all()
    assert not has_risk[rows].any()
    both = (values, has_risk)
    assert data_finding("car", "light", both, both, scores, 200, 0) is None


def test_data_that_confound_are_found_whatever_the_score_reads():
    has_risk, values, scores = data(0.8, 0)
    both = (values, has_risk)
    found = data_finding("car", "light", both, both, scores, 200, 0)
    assert found["severity"] == "high"
    fractions = found["evidence"]["train_fraction_with_risk"]
    assert fractions["night"] > 0.7 > 0.3 > fractions["day"]
    assert score_finding("car", "light", scores, has_risk, values, IDS, 0) is None


def test_the_rates_are_of_train_rows():
    """An attribute that goes with the risk in test alone predicts nothing that could be learnt."""
    train_risk = data(0, 0)[0]
    has_risk, values, scores = data(0.9, 0, seed=1)
    train = (np.full(N, "day", object), train_risk)
    assert data_finding("car", "light", train, (values, has_risk), scores, 200, 0) is None


def test_missing_values_are_left_out_of_what_is_explained():
    has_risk, values, scores = data(0, 1.5)
    values[::7] = None
    assert score_finding("car", "light", scores, has_risk, values, IDS, 0) is not None


def test_the_explained_share_is_epsilon_squared():
    rng = np.random.default_rng(0)
    codes = rng.integers(4, size=200)
    values = rng.normal(size=200) + 0.4 * codes
    f = f_oneway(*(values[codes == code] for code in range(4))).statistic
    # ε² = (k - 1)(F - 1) / ((k - 1) F + n - k)
    assert explained_fraction(values, codes) == pytest.approx(3 * (f - 1) / (3 * f + 196))


@pytest.mark.parametrize(
    ("values", "codes"),
    [([1.0, 2, 3], [0, 0, 0]), ([1.0, 1, 1], [0, 1, 1]), ([1.0, 2], [0, 1]), ([], [])],
)
def test_nothing_is_explained_where_nothing_can_be(values, codes):
    assert explained_fraction(np.array(values), np.array(codes, int)) == 0
