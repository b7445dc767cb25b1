"""Miscalibration, against bins of planted confidence and accuracy."""

import numpy as np
import pandas as pd
import pytest

from glasshead.audit.miscalibration import miscalibration
from glasshead.calibration import metrics as measures

HONEST = (0.55, 0.55, 400), (0.95, 0.95, 400)


def rows(*bins):
    """Return predictions with (confidence, accuracy, n) in each bin."""
    parts = [
        pd.DataFrame(
            {
                "label": "cat",
                "confidence": sure,
                "predicted": np.where(np.arange(n) < round(right * n), "cat", "dog"),
            }
        )
        for sure, right, n in bins
    ]
    table = pd.concat(parts, ignore_index=True)
    return table.assign(image_id=[f"test/{row:05d}" for row in range(len(table))])


def measured(test, n_bins=10):
    """Return reliability, ECE and the ECE that a calibrated classifier of these confidences would stay below."""
    place = (test["confidence"] * n_bins).astype(int).clip(upper=n_bins - 1)
    right = test["label"] == test["predicted"]
    table = pd.DataFrame(
        {
            "from": place / n_bins,
            "to": (place + 1) / n_bins,
            "n": 1,
            "confidence": test["confidence"],
            "accuracy": right,
        }
    )
    bins = table.groupby(["from", "to"], as_index=False).agg(
        {"n": "sum", "confidence": "mean", "accuracy": "mean"}
    )
    half = 2 * np.sqrt(0.25 / bins["n"])
    bins = bins.assign(low=bins["accuracy"] - half, high=bins["accuracy"] + half)
    ece = (bins["n"] * (bins["confidence"] - bins["accuracy"]).abs()).sum() / len(test)
    two_classes = np.stack([test["confidence"], 1 - test["confidence"]], axis=1)
    return bins, {"value": ece}, measures.ece_consistency(two_classes, n_bins, 300)


@pytest.mark.parametrize(
    ("accuracy", "way"), [(0.45, "over"), (0.98, "under")], ids=["over", "under"]
)
def test_a_range_of_confidence_that_misses_accuracy_is_found(accuracy, way):
    test = rows(*HONEST, (0.75, accuracy, 400))
    found = miscalibration(test, *measured(test))
    numbers = found["evidence"]
    assert numbers["ece"]["value"] == pytest.approx(abs(0.75 - accuracy) / 3)
    assert numbers["confidence_less_accuracy"] == pytest.approx((0.75 - accuracy) / 3)
    assert (numbers["bin"]["from"], numbers["bin"]["to"]) == (0.7, 0.8)
    assert f"Over all images it is {way}confident" in found["summary"]
    assert found["summary"].endswith(f", so it is {way}confident there.")
    shown = test.set_index("image_id").loc[found["rows"]]
    assert (shown["confidence"] == 0.75).all()
    assert ((shown["label"] == shown["predicted"]) == (way == "under")).all()


def test_a_bin_outside_its_interval_comes_before_one_that_costs_more():
    noisy, narrow = (0.55, 0.45, 300), (0.85, 0.80, 500)
    test = rows(noisy, narrow)
    bins, ece, _ = measured(test)
    bins = bins.assign(low=[0.40, 0.77], high=[0.60, 0.83])
    assert miscalibration(test, bins, ece, 0.03)["evidence"]["bin"]["from"] == 0.8
    bins = bins.assign(low=0.0, high=1.0)
    assert miscalibration(test, bins, ece, 0.03)["evidence"]["bin"]["from"] == 0.5


@pytest.mark.parametrize(("gap", "severity"), [(0.29, "high"), (0.17, "medium"), (0.1, "low")])
def test_severity_is_what_ece_has_beyond_chance(gap, severity):
    test = rows(*HONEST, (0.75, 0.75 - gap, 400))
    bins, ece, _ = measured(test)
    assert miscalibration(test, bins, ece, 0.03)["severity"] == severity


@pytest.mark.parametrize("confidence", [0.95, 1.0])
def test_the_last_bin_holds_full_confidence(confidence):
    test = rows((confidence, 0.5, 40))
    found = miscalibration(test, *measured(test))
    assert len(found["rows"]) == 20


def test_a_calibrated_classifier_is_blamed_in_5_percent_of_test_sets(answers):
    blamed = []
    for seed in range(100):
        test = answers(600, seed)
        blamed.append(miscalibration(test, *measured(test)) is not None)
    assert np.mean(blamed) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 100)


def test_what_is_undefined_is_not_told_of():
    test = rows((0.95, 0.5, 40))
    bins, ece, most = measured(test)
    assert miscalibration(test, bins, {"value": None}, most) is None
    assert miscalibration(test, bins, ece, None) is None
