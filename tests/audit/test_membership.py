"""What a classifier has learned shows where calibration and test rows part."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier

from glasshead.audit.membership import find_learned_rows
from glasshead.images.params import PreprocessParams

UNKNOWN = PreprocessParams()


def predictions(seed: int, learned: bool) -> pd.DataFrame:
    """Return predictions of forests for noisy blobs; a forest that learned the calibration rows knows them by heart."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 900)
    values = rng.normal(size=(900, 6)) + np.eye(6)[labels] * 1.5
    split = np.repeat(["train", "calibration", "test"], 300)
    seen = split != "test" if learned else split == "train"
    forest = RandomForestClassifier(50, random_state=seed).fit(values[seen], labels[seen])
    probabilities = forest.predict_proba(values)
    names = np.array(["a", "b", "c"])
    columns = {f"probability/{name}": probabilities[:, k] for k, name in enumerate(names)}
    return pd.DataFrame(
        {
            "split": split,
            "label": names[labels],
            "predicted": names[probabilities.argmax(axis=1)],
            "confidence": probabilities.max(axis=1),
            **columns,
        }
    )


@pytest.mark.parametrize("seed", range(5))
def test_learned_rows_are_a_finding_and_unseen_ones_are_not(seed):
    (learned,) = find_learned_rows(predictions(seed, learned=True), UNKNOWN)
    assert learned["severity"] == "high"
    assert "better on calibration rows than chance allows" in learned["summary"]
    (unseen,) = find_learned_rows(predictions(seed, learned=False), UNKNOWN)
    assert unseen["severity"] == "medium"
    assert "show no difference" in unseen["summary"]
    assert unseen["evidence"]["n_test"] == 300


def test_what_the_user_says_is_believed():
    said = PreprocessParams(trained_on="none")
    assert find_learned_rows(predictions(0, learned=True), said) == []
