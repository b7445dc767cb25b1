"""Splits: stratified, blind to seed and order, copies together, stable when data grows."""

import hashlib
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshead.errors import ParameterError, SplitError
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
    assert splits == ["train"] * 5 + ["calibration", "validation", "test"]


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


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["cat", "dog"]),
            st.integers(0, 15),
            st.sampled_from(["train", "validation", "test"]),
        ),
        min_size=1,
        max_size=60,
    )
)
def test_given_splits_are_exactly_these_rows(rows):
    labels, contents, given_splits = zip(*rows, strict=True)
    data = frame(labels, contents, list(given_splits))
    splits = assign_splits(data, 0.2, 0.1)
    given = data["given_split"]
    if "test" in set(given):
        assert ((splits == "test") == (given == "test")).all()
    assert splits[given == "validation"].isin(["validation", "calibration"]).all()
    for label in set(labels):
        own, of_class = given[data["label"] == label], splits[data["label"] == label]
        if "validation" in set(own) and not data["content_hash"].duplicated().any():
            assert not of_class[own == "train"].isin(["validation", "calibration"]).any()


def test_calibration_is_cut_from_validation_in_the_ratio_of_the_fractions():
    data = distinct(["cat"] * 100, ["train"] * 60 + ["validation"] * 40)
    splits = assign_splits(data, validation_fraction=0.3, calibration_fraction=0.1)
    assert Counter(splits[60:]) == {"validation": 30, "calibration": 10}
    assert Counter(splits[:60]) == {"train": 48, "test": 12}


def test_a_class_without_validation_rows_is_cut_from_train():
    given_splits = ["train"] * 20 + ["train"] * 10 + ["validation"] * 10
    data = distinct(["cat"] * 20 + ["dog"] * 20, given_splits)
    splits = assign_splits(data, 0.1, 0.1, 0.2)
    assert Counter(splits[:20]) == {"train": 12, "validation": 2, "calibration": 2, "test": 4}
    assert Counter(splits[20:]) == {"train": 8, "test": 2, "validation": 5, "calibration": 5}


grouped_rows = st.lists(
    st.tuples(
        st.sampled_from(["cat", "dog"]),
        st.integers(0, 30),
        st.sampled_from([None, "a", "b", "c", "d", "e", "f"]),
    ),
    min_size=1,
    max_size=60,
)


def grouped(rows, given=None) -> pd.DataFrame:
    labels, contents, groups = zip(*rows, strict=True)
    return frame(labels, contents, given).assign(
        **{"attribute/patient": pd.Series(groups, dtype="str")}
    )


@given(grouped_rows, st.randoms(use_true_random=False))
def test_neither_groups_nor_copies_straddle_in_any_order(rows, random):
    data = grouped(rows)
    splits = assign_splits(data, 0.2, 0.2, 0.2, group_by="patient")
    for column in ("attribute/patient", "content_hash"):
        assert (splits.groupby(data[column]).nunique() == 1).all()
    order = list(range(len(data)))
    random.shuffle(order)
    shuffled = assign_splits(data.iloc[order], 0.2, 0.2, 0.2, group_by="patient")
    assert shuffled.sort_index().equals(splits)


def test_a_copy_joins_two_groups():
    rows = [("cat", 0, "a"), ("cat", 1, "a"), ("cat", 1, "b"), ("cat", 2, "b")]
    data = grouped(rows + [("cat", k, None) for k in range(3, 30)])
    splits = assign_splits(data, 0.2, 0.2, 0.2, group_by="patient")
    assert splits[:4].nunique() == 1


def test_rows_without_a_group_are_split_as_without_groups():
    data = grouped([("cat", k, None) for k in range(40)])
    assert assign_splits(data, 0.1, 0.1, group_by="patient").equals(assign_splits(data, 0.1, 0.1))


def test_a_group_in_two_given_splits_is_named():
    data = grouped(
        [("cat", 0, "p1"), ("cat", 1, "p1"), ("cat", 2, "p2")], ["train", "test", "test"]
    )
    with pytest.raises(
        SplitError, match=r"1 groups of preprocess.group_by=patient .* p1: test and"
    ):
        assign_splits(data, 0.1, 0.1, group_by="patient")


def test_a_group_of_more_than_half_of_its_class_stays_in_train():
    rows = [("cat", k, "big") for k in range(150)] + [("cat", k, None) for k in range(150, 200)]
    for name in map(str, range(6)):
        data = grouped([(label, content, group and name) for label, content, group in rows])
        splits = assign_splits(data, 0.1, 0.1, 0.2, group_by="patient")
        assert (splits[:150] == "train").all()
        assert set(splits[150:]) >= {"calibration", "validation", "test"}


def test_an_unknown_group_attribute_is_named_with_those_there_are():
    data = grouped([("cat", 0, "p1")])
    with pytest.raises(ParameterError, match=r"group_by is 'camera'.* Known: patient"):
        assign_splits(data, 0.1, 0.1, group_by="camera")
