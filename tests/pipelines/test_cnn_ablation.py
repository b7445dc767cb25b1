"""The comparison of augmentations against planted accuracies."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from glasshead.pipelines.train_cnn.ablation_nodes import (
    VARIANTS,
    compare_augmentations,
    plot_ablation,
)
from glasshead.training.augment import PRESETS

LUCK = np.array([0.0, 0.02, -0.01])  # of a seed, whatever the augmentation
GAIN = {"none": -0.1, "baseline": 0.0, "colour": 0.001, "mixup": 0.05}


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        variant._asdict()
        | {
            "accuracy": 0.8
            + GAIN.get(variant.augmentation, 0.0)
            + LUCK[variant.replicate]
            + rng.normal(scale=0.002),
            "nll": 0.5 + variant.replicate,
            "ece": 0.1,
            "seconds": 20.0 + variant.replicate,
        }
        for variant in VARIANTS
    )


@pytest.fixture(scope="module")
def table(runs: pd.DataFrame) -> pd.DataFrame:
    return compare_augmentations(runs)


def test_every_augmentation_has_three_seeds_of_its_own(table):
    assert set(VARIANTS) == {(name, seed) for name in PRESETS for seed in range(3)}
    assert table["augmentation"].tolist() == list(PRESETS)
    assert (table["seeds"] == 3).all()


def test_differences_are_paired_by_seed(table, runs):
    """The luck of a seed, ten times the noise, is in both; without pairing no difference but none's was resolved."""
    accuracy = {name: own["accuracy"].tolist() for name, own in runs.groupby("augmentation")}
    expected = stats.ttest_rel(accuracy["mixup"], accuracy["baseline"]).confidence_interval()
    row = table.set_index("augmentation").loc["mixup"]
    assert [row["difference_low"], row["difference_high"]] == pytest.approx(list(expected))
    assert row["accuracy"] == pytest.approx(np.mean(accuracy["mixup"]))


def test_only_what_leaves_0_out_is_called_a_difference(table):
    verdicts = table.set_index("augmentation")["verdict"]
    assert verdicts[["none", "colour", "mixup"]].tolist() == ["lower", "unresolved", "higher"]
    assert pd.isna(verdicts["baseline"])


def test_means_over_seeds(table):
    assert table["nll"].tolist() == pytest.approx([1.5] * len(PRESETS))
    assert table["seconds"].tolist() == pytest.approx([21.0] * len(PRESETS))


def test_the_figure_has_a_row_an_augmentation(table):
    left, right = plot_ablation(table).axes
    assert [text.get_text() for text in left.get_yticklabels()] == list(PRESETS)
    assert "baseline" in right.get_xlabel()
