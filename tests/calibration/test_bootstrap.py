import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from glasshead.calibration.bootstrap import Statistic, bootstrap_intervals, mean_of
from glasshead.calibration.metrics import accuracy, ece, macro_f1


def test_interval_of_a_mean_matches_the_normal_approximation():
    values = np.random.default_rng(0).normal(size=2000)
    estimate = bootstrap_intervals({"mean": mean_of(values)}, 4000, seed=1)["mean"]
    half = norm.ppf(0.975) * values.std() / np.sqrt(len(values))
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_interval_equals_one_that_recomputes_the_statistic_on_each_resample():
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.ones(3), 300), rng.integers(3, size=300)
    ours = bootstrap_intervals({"f1": macro_f1(probabilities, labels)}, 2000, seed=0)["f1"]
    rows = [rng.integers(300, size=300) for _ in range(2000)]
    slow = [macro_f1(probabilities[row], labels[row]).value for row in rows]
    assert [ours.low, ours.high] == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.01)


def test_interval_covers_the_true_accuracy_at_its_nominal_rate():
    covered = 0
    for seed in range(300):
        hits = np.random.default_rng(seed).random(400) < 0.8
        estimate = bootstrap_intervals({"a": mean_of(hits.astype(float))}, 300, seed)["a"]
        covered += estimate.low <= 0.8 <= estimate.high
    assert 0.91 <= covered / 300 <= 0.985


@pytest.mark.parametrize("true_gap", [0.0, 0.02, 0.1])
def test_corrected_interval_covers_the_true_ece(true_gap):
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        top = rng.uniform(0.7, 1.0, size=1000)
        hit = rng.random(1000) < top - true_gap
        statistic = ece(np.stack([top, 1 - top], axis=1), np.where(hit, 0, 1))
        estimate = bootstrap_intervals({"ece": statistic}, 200, seed)["ece"]
        covered += estimate.low <= true_gap <= estimate.high
    assert covered >= 90


@given(st.integers(2, 40), st.integers(2, 5), st.integers(0, 1000))
def test_a_biased_statistics_interval_holds_its_value_and_stays_in_the_unit_interval(n, k, seed):
    rng = np.random.default_rng(seed)
    probabilities, labels = rng.dirichlet(np.ones(k), n), rng.integers(k, size=n)
    estimate = bootstrap_intervals({"ece": ece(probabilities, labels)}, 50, seed)["ece"]
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_statistics_share_their_resamples():
    hits = np.random.default_rng(0).integers(2, size=100).astype(float)
    pair = bootstrap_intervals({"right": mean_of(hits), "wrong": mean_of(1 - hits)}, 500, seed=0)
    assert pair["right"].low == pytest.approx(1 - pair["wrong"].high)
    assert pair["right"].high == pytest.approx(1 - pair["wrong"].low)


def test_chunks_do_not_change_the_result(monkeypatch):
    statistic = {"mean": mean_of(np.random.default_rng(0).normal(size=50))}
    whole = bootstrap_intervals(statistic, 101, seed=0)
    monkeypatch.setattr("glasshead.calibration.bootstrap.CHUNK_CELLS", 500)
    chunked = bootstrap_intervals(statistic, 101, seed=0)
    assert chunked["mean"].low == pytest.approx(whole["mean"].low, rel=1e-12)
    assert chunked["mean"].high == pytest.approx(whole["mean"].high, rel=1e-12)


def test_the_seed_alone_decides():
    statistic = {"mean": mean_of(np.random.default_rng(0).normal(size=50))}
    assert bootstrap_intervals(statistic, 50, seed=3) == bootstrap_intervals(statistic, 50, seed=3)
    assert bootstrap_intervals(statistic, 50, seed=3) != bootstrap_intervals(statistic, 50, seed=4)


@pytest.mark.parametrize(("n", "value"), [(0, None), (1, 1.0)])
def test_no_interval_below_two_rows(n, value):
    estimate = bootstrap_intervals({"mean": mean_of(np.ones(n))}, 20, seed=0)["mean"]
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (value, None, None, n)


def test_no_interval_where_resamples_often_lose_a_class():
    labels = np.array([0] * 20 + [1] * 2)
    probabilities = np.eye(2)[labels]
    statistics = {"f1": macro_f1(probabilities, labels), "hit": accuracy(probabilities, labels)}
    estimates = bootstrap_intervals(statistics, 200, seed=0)
    assert (estimates["f1"].value, estimates["f1"].low, estimates["f1"].high) == (1.0, None, None)
    assert (estimates["hit"].low, estimates["hit"].high) == (1.0, 1.0)


def test_an_undefined_statistic_is_none_throughout():
    undefined = Statistic(np.ones((5, 1)), lambda means: means[..., 0] * np.nan)
    estimate = bootstrap_intervals({"x": undefined}, 20, seed=0)["x"]
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (None, None, None, 5)


def test_statistics_of_different_rows_are_refused():
    with pytest.raises(ValueError, match="same rows"):
        bootstrap_intervals({"a": mean_of(np.ones(3)), "b": mean_of(np.ones(4))}, 10, seed=0)
