"""The choice of images to explain."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd


def choose_balanced(
    predictions: pd.DataFrame, count: int, draw: np.random.Generator
) -> pd.DataFrame:
    """Return `count` rows: half of them mistakes, with labels balanced over all chosen rows.

    `predictions` has label and correct. If there are too few mistakes or too few correct rows, the other kind fills up.
    """
    shuffled = predictions.sample(frac=1, random_state=draw)
    correct, wrong = shuffled[shuffled["correct"]], shuffled[~shuffled["correct"]]
    chosen_wrong = _take_in_turn(wrong, max(count // 2, count - len(correct)), {})
    seen = chosen_wrong["label"].value_counts().to_dict()
    chosen_correct = _take_in_turn(correct, count - len(chosen_wrong), seen)
    return pd.concat([chosen_wrong, chosen_correct])


def _take_in_turn(rows: pd.DataFrame, count: int, seen: Mapping[Any, int]) -> pd.DataFrame:
    """Return `count` rows, one of each label in turn; a label already `seen` k times skips its first k turns."""
    skipped = np.array([seen.get(label, 0) for label in rows["label"]], dtype=int)
    turn = rows.groupby("label").cumcount() + skipped
    return rows.loc[turn.sort_values(kind="stable").index[:count]]
