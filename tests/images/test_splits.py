"""Splits: stratified, blind to seed and order, copies together, stable when data grows."""

import hashlib
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshead.errors import SplitError
from glasshead.images.splits import assign_splits, check_splits


def frame(labels, contents, given=None) -> pd.DataFrame:
    hashes = [hashlib.sha256(str(content).encode()).hexdigest() for content in contents]
    return pd.DataFrame(
        {"label": list(labels), "content_hash": hashes, "given_split": given}, dtype="str"
    )


def distinct(labels, given=None) -> pd.DataFrame:
    return frame(labels, range(len(labels)), given)


rows = st.lists(st.sampled_from(["cat", "dog", "ship"]), min_size=1, max_size=60)
fractions = st.floats(0.05, 0.3)
copied_rows = st.lists(
    st.tuples(st.sampled_from(["cat", "dog"]), st.integers(0, 15)), min_size=1, max_size=60
)


@given(rows, fractions, fractions)
def test_each_class_gets_its_shares_within_rounding(labels, validation, calibration):
    data = distinct(labels, "train")
    data.loc[len(data)] = {"label": "cat", "content_hash": "f", "given_split": "test"}
    splits = assign_splits(data, validation, calibration)
    for label, n in Counter(labels).items():
        found = Counter(splits[:-1][data["label"][:-1] == label])
        assert "test" not in found
        assert abs(found["calibration"] - max(n * calibration, 1)) <= 0.5
        if n > 3:
            both, least = found["calibration"] + found["validation"], found["calibration"] + 1
            assert abs(both - max(n * (calibration + validation), least)) <= 0.5


@given(copied_rows, st.randoms(use_true_random=False))
def test_row_order_does_not_matter(pairs, random):
    data = frame(*zip(*pairs, strict=True))
    order = list(range(len(data)))
    random.shuffle(order)
    shuffled = assign_splits(data.iloc[order], 0.2, 0.2, 0.2)
    assert shuffled.sort_index().equals(assign_splits(data, 0.2, 0.2, 0.2))


@given(copied_rows)
def test_copies_never_straddle(pairs):
    data = frame(*zip(*pairs, strict=True))
    splits = assign_splits(data, 0.2, 0.2, 0.2)
    assert (splits.groupby(data["content_hash"]).nunique() == 1).all()


@given(st.integers(8, 200), fractions, fractions)
def test_one_more_image_moves_at_most_one_old_row_across_each_cut(n, validation, calibration):
    data = distinct(["cat"] * (n + 1))
    before = assign_splits(data[:n], validation, calibration, 0.2)
    after = assign_splits(data, validation, calibration, 0.2)[:n]
    ranks = {name: k for k, name in enumerate(("calibration", "validation", "test", "train"))}
    for cut in (1, 2, 3):
        assert ((before.map(ranks) < cut) != (after.map(ranks) < cut)).sum() <= 1


def test_growth_of_one_class_leaves_the_others_alone():
    data = distinct(["cat"] * 50 + ["dog"] * 80)
    whole, part = assign_splits(data, 0.1, 0.1), assign_splits(data[:70], 0.1, 0.1)
    assert whole[:50].equals(part[:50])


def test_hash_order_decides():
    data = distinct(["cat"] * 10)
    splits = assign_splits(data, 0.2, 0.1, 0.3)
    ordered = splits[data["content_hash"].sort_values().index].tolist()
    assert ordered == ["calibration"] + 2 * ["validation"] + 3 * ["test"] + 4 * ["train"]


def test_a_given_test_split_is_kept_whole():
    data = distinct(["cat", "dog"] * 50, ["train"] * 80 + ["test"] * 20)
    splits = assign_splits(data, 0.1, 0.1, test_fraction=0.5)
    assert (splits[80:] == "test").all()
    assert "test" not in set(splits[:80])
    assert Counter(splits[:80]) == {"train": 64, "validation": 8, "calibration": 8}


def test_without_a_given_test_split_one_is_cut():
    splits = assign_splits(distinct(["cat", "dog"] * 50), 0.1, 0.1)
    assert Counter(splits) == {"train": 60, "validation": 10, "calibration": 10, "test": 20}


def test_arguments_are_left_alone():
    data = distinct(["cat", "dog"] * 5)
    copy = data.copy()
    assign_splits(data, 0.1, 0.1)
    pd.testing.assert_frame_equal(data, copy)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_tiny_classes_do_not_crash_and_are_named_with_their_counts(n):
    data = distinct(["cat"] * 10 + ["dog"] * n)
    splits = assign_splits(data, 0.1, 0.1, 0.2)
    with pytest.raises(SplitError, match=f"dog: 0 train.*{min(n, 1)} calibration"):
        check_splits(data["label"], splits, ("cat", "dog"))


def test_copies_leave_no_later_split_empty():
    hashes = ["00"] * 5 + ["01", "02", "03"]
    data = pd.DataFrame({"label": "cat", "given_split": None, "content_hash": hashes})
    splits = assign_splits(data, 0.1, 0.1, 0.2).tolist()
    assert splits == ["calibration"] * 5 + ["validation", "test", "train"]


def test_four_images_a_class_are_enough():
    data = distinct(["cat", "dog"] * 4)
    splits = assign_splits(data, 0.1, 0.1, 0.2)
    check_splits(data["label"], splits, ("cat", "dog"))
    assert Counter(splits) == dict.fromkeys(("train", "validation", "calibration", "test"), 2)


def test_every_share_is_taken_from_the_whole_range_of_hashes():
    data = distinct(list(np.repeat(["cat", "dog"], 500)))
    train = data.loc[assign_splits(data, 0.1, 0.1) == "train", "content_hash"]
    low = train.str[:2].map(lambda text: int(text, 16)).min()
    assert low > 0.35 * 256  # 40 % of the hashes come first
