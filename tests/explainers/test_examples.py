"""The choice of images to explain."""

import numpy as np
import pandas as pd
import pytest

from glasshead.explainers.examples import choose_balanced


def predictions(correct: dict[str, int], wrong: dict[str, int]) -> pd.DataFrame:
    """Return so many rows of each label, correctly and wrongly predicted."""
    rows = [(label, label) for label, count in correct.items() for _ in range(count)]
    rows += [(label, f"not {label}") for label, count in wrong.items() for _ in range(count)]
    frame = pd.DataFrame(rows, columns=["label", "predicted"])
    frame = frame.assign(correct=frame["label"] == frame["predicted"])
    return frame.assign(image_id=[f"test/{row}" for row in range(len(rows))])


def choose(frame: pd.DataFrame, count: int, seed: int = 0) -> pd.DataFrame:
    return choose_balanced(frame, count, np.random.default_rng(seed))


def test_half_are_wrong_and_labels_are_balanced():
    chosen = choose(predictions({"a": 50, "b": 9, "c": 5}, {"a": 20, "b": 3, "c": 4}), 12)
    counts = chosen.groupby(["correct", "label"]).size()
    assert counts.to_dict() == {(kind, label): 2 for kind in (False, True) for label in "abc"}
    assert not chosen["image_id"].duplicated().any()


def test_correct_ones_make_up_for_labels_that_are_never_wrong():
    chosen = choose(predictions({"a": 50, "b": 50, "c": 50}, {"a": 2}), 6)
    assert chosen["label"].value_counts().to_dict() == {"a": 2, "b": 2, "c": 2}


@pytest.mark.parametrize(
    ("correct", "wrong", "expected"), [(9, 2, 2), (3, 9, 5), (9, 0, 0), (0, 9, 8), (2, 1, 1)]
)
def test_one_kind_fills_up_for_the_other(correct, wrong, expected):
    chosen = choose(predictions({"a": correct}, {"a": wrong}), 8)
    assert (~chosen["correct"]).sum() == expected
    assert len(chosen) == min(8, correct + wrong)


def test_the_seed_decides():
    frame = predictions({"a": 50, "b": 50}, {"a": 50, "b": 50})
    first, again, other = choose(frame, 8), choose(frame, 8), choose(frame, 8, seed=1)
    assert first["image_id"].tolist() == again["image_id"].tolist()
    assert first["image_id"].tolist() != other["image_id"].tolist()
