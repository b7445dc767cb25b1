"""The comparison of augmentations against planted accuracies."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from glasshead.pipelines.cnn_ablation import VARIANTS, create_pipeline
from glasshead.pipelines.cnn_ablation.nodes import compare_augmentations, draw_ablation
from glasshead.training.augment import PRESETS

LUCK = np.array([0.0, 0.02, -0.01])  # of a seed, whatever the augmentation
GAIN = {"none": -0.1, "baseline": 0.0, "colour": 0.001, "mixup": 0.05}


def results():
    rng = np.random.default_rng(0)
    metrics, logs = [], []
    for augmentation, replicate in VARIANTS.values():
        accuracy = 0.8 + GAIN.get(augmentation, 0.0) + LUCK[replicate] + rng.normal(scale=0.002)
        values = {"accuracy": accuracy, "nll": 0.5 + replicate, "ece": 0.1}
        metrics.append({name: {"value": value} for name, value in values.items()})
        logs.append(pd.DataFrame({"epoch": [1, 2], "seconds": [10.0, 20.0 + replicate]}))
    return metrics, logs


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    metrics, logs = results()
    return compare_augmentations(*metrics, *logs)


def test_every_augmentation_has_three_seeds_of_its_own(table):
    assert set(VARIANTS.values()) == {(name, seed) for name in PRESETS for seed in range(3)}
    assert table["augmentation"].tolist() == list(PRESETS)
    assert (table["seeds"] == 3).all()


def test_differences_are_paired_by_seed(table):
    """The luck of a seed, ten times the noise, is in both; without pairing no difference but none's was resolved."""
    metrics, _ = results()
    accuracy = {
        name: [
            found["accuracy"]["value"]
            for found, (augmentation, _) in zip(metrics, VARIANTS.values(), strict=True)
            if augmentation == name
        ]
        for name in PRESETS
    }
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
    left, right = draw_ablation(table).axes
    assert [text.get_text() for text in left.get_yticklabels()] == list(PRESETS)
    assert "baseline" in right.get_xlabel()


def test_every_variant_is_an_input():
    inputs = create_pipeline().inputs()
    assert inputs == {f"{name}.{end}" for name in VARIANTS for end in ("metrics", "audit_log")}
