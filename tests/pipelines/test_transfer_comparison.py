"""`transfer_comparison` on planted results: what stands in its tables, and what is compared with what."""

import io
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import ttest_rel

from glasshead.errors import ArtifactError
from glasshead.images.sources.base import plain_record
from glasshead.images.table import ImageTable
from glasshead.models.pretrained import PretrainedParams, build_transfer
from glasshead.models.store import VariantStore
from glasshead.pipelines.train_transfer.comparison_nodes import (
    RECIPES,
    REFERENCE,
    REPLICATES,
    STRATEGIES,
    VARIANTS,
    Recipe,
    compare_recipes,
    plot_comparison,
    reference_of,
    study_interpolation,
)
from glasshead.reporting.training_figures import plot_interpolation


def accuracy(variant) -> float:
    """Full training gains 0.1, ResNet50 loses 0.05, each a little more in later seeds; all else is luck."""
    luck = (0.01, -0.02, 0.015)[variant.replicate]
    gain = 0.1 * (variant.strategy == "full") - 0.05 * (variant.architecture == "resnet50")
    noise = 0.004 * variant.replicate * gain
    odd = 0.01 * (-1) ** variant.replicate * (variant.interpolation == "bicubic")
    return 0.7 + luck + gain + noise + odd


def history(variant) -> pd.DataFrame:
    epochs = np.arange(1, 4)
    speed = 2 if variant.architecture == "resnet50" else 1
    return pd.DataFrame(
        {
            "epoch": epochs,
            "phase": "full",
            "validation_accuracy": accuracy(variant) * epochs / 3,
            "images_seen": 100 * epochs,
            "seconds": speed * epochs * (1.0 + variant.replicate),
        }
    ).assign(**variant._asdict())


@pytest.fixture(scope="module")
def comparison() -> pd.DataFrame:
    runs = [
        variant._asdict()
        | {"accuracy": accuracy(variant), "nll": 1 - accuracy(variant), "ece": 0.02, "epochs": 3}
        | history(variant)[["images_seen", "seconds"]].iloc[-1].to_dict()
        for variant in VARIANTS
    ]
    return compare_recipes(pd.DataFrame(runs))


def row(table: pd.DataFrame, *recipe: str) -> pd.Series:
    keys = ["architecture", "strategy", "interpolation"]
    (found,) = (one for _, one in table.iterrows() if tuple(one[keys]) == recipe)
    return found


@pytest.fixture(scope="module")
def images() -> ImageTable:
    """Smooth ramps, whose energy lies at low frequencies; test images are noise, whose energy lies everywhere."""
    rng = np.random.default_rng(0)

    def record(row: int):
        ramp = np.linspace(0, 255, 16).astype(np.uint8)
        pixels = np.broadcast_to(ramp[:, None, None], (16, 16, 3))
        if row % 2:
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        data = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(data, "PNG")
        return plain_record(f"train/{row:03d}", data.getvalue(), "ab"[row % 2], None)

    return ImageTable.from_records(map(record, range(40)), ("a", "b"))


@pytest.fixture(scope="module")
def samples(images) -> pd.DataFrame:
    frame = images.frame()
    return frame.assign(split=np.resize(["train", "test"], len(frame)))


@pytest.fixture(scope="module")
def study(comparison, images, samples, tmp_path_factory) -> pd.DataFrame:
    params = PretrainedParams(width=0.125, pretrained="none", backbone_size=32)
    classifier = build_transfer(params, ("a", "b"), 16, {}, seed=0)
    variants = VariantStore(tmp_path_factory.mktemp("variants"))
    variants.save(f"{REFERENCE}_0", classifier)
    return study_interpolation(comparison, variants, images, samples)


class TestVariants:
    def test_every_recipe_has_at_least_three_seeds(self):
        counts = Counter(Recipe(*variant[:3]) for variant in VARIANTS)
        assert counts == dict.fromkeys(RECIPES, REPLICATES)
        assert REPLICATES >= 3

    def test_all_strategies_depths_and_interpolations_are_there(self):
        found = {recipe.strategy for recipe in RECIPES if recipe.architecture == "resnet18"}
        assert found == {"frozen", "last_3", "last_4", "full", "two_phase"}
        assert sum(recipe.architecture == "resnet50" for recipe in RECIPES) >= 2
        assert {recipe.interpolation for recipe in RECIPES} == {"bilinear", "bicubic", "none"}
        assert set(STRATEGIES) == {recipe.architecture for recipe in RECIPES}

    def test_a_recipe_differs_from_its_reference_in_one_thing(self):
        for recipe in RECIPES:
            reference = reference_of(recipe)
            if recipe == REFERENCE:
                assert reference is None
            else:
                assert reference in RECIPES
                assert sum(a != b for a, b in zip(recipe, reference, strict=True)) == 1


class TestComparison:
    def test_there_is_a_row_for_each_recipe(self, comparison):
        found = comparison[["architecture", "strategy", "interpolation"]].itertuples(index=False)
        assert list(map(tuple, found)) == list(map(tuple, RECIPES))
        assert (comparison["seeds"] == REPLICATES).all()

    def test_means_are_over_the_seeds(self, comparison):
        found = row(comparison, "resnet50", "frozen", "bilinear")
        runs = [
            variant for variant in VARIANTS if variant[:3] == ("resnet50", "frozen", "bilinear")
        ]
        assert found["accuracy"] == pytest.approx(np.mean([accuracy(run) for run in runs]))
        assert found["nll"] == pytest.approx(1 - found["accuracy"])
        assert found[["epochs", "images_seen", "seconds"]].tolist() == [3, 300, 12]

    def test_the_interval_of_a_difference_is_the_paired_t_tests(self, comparison):
        ours, theirs = (
            [accuracy(v) for v in VARIANTS if v[:3] == recipe]
            for recipe in (("resnet18", "full", "bilinear"), tuple(REFERENCE))
        )
        expected = ttest_rel(ours, theirs).confidence_interval(0.95)
        found = row(comparison, "resnet18", "full", "bilinear")
        assert found["difference_low"] == pytest.approx(expected.low)
        assert found["difference_high"] == pytest.approx(expected.high)

    def test_depths_are_compared_within_a_strategy_and_strategies_with_the_reference(
        self, comparison
    ):
        deep = row(comparison, "resnet50", "full", "bilinear")
        assert deep["reference"] == "resnet18_full_bilinear"
        assert deep["difference"] == pytest.approx(-0.05, abs=0.001)
        assert deep["verdict"] == "lower"
        full = row(comparison, "resnet18", "full", "bilinear")
        assert full["reference"] == str(REFERENCE)
        assert (full["difference"], full["verdict"]) == (pytest.approx(0.1, abs=0.001), "higher")

    def test_what_the_seeds_do_not_settle_is_unresolved(self, comparison):
        assert row(comparison, "resnet18", "two_phase", "bicubic")["verdict"] == "unresolved"
        assert pd.isna(row(comparison, *REFERENCE)["verdict"])

    def test_the_figure_shows_every_strategy_and_depth_but_one_interpolation(self):
        figure = plot_comparison(pd.concat(map(history, VARIANTS)))
        labels = figure.axes[0].get_legend_handles_labels()[1]
        expected = [
            f"{recipe.architecture}, {recipe.strategy}"
            for recipe in RECIPES
            if recipe.interpolation == "bilinear"
        ]
        assert sorted(labels) == sorted(expected)


class TestInterpolation:
    def test_accuracies_are_those_of_the_comparison(self, comparison, study):
        assert study["interpolation"].tolist() == ["bilinear", "bicubic", "none"]
        for name in study["interpolation"]:
            theirs = row(comparison, "resnet18", "two_phase", name)
            ours = study.set_index("interpolation").loc[name]
            assert ours["accuracy"] == theirs["accuracy"]

    def test_detail_is_measured_on_test_images_alone(self, study):
        """White noise has as much energy above half the Nyquist frequency as there are frequencies: 1 - π / 16."""
        fraction = study.set_index("interpolation")["high_frequency_fraction"]
        assert fraction["none"] == pytest.approx(1 - np.pi / 16, abs=0.03)
        assert fraction["bilinear"] < fraction["bicubic"] < fraction["none"]
        assert (study["high_frequency_low"] < study["high_frequency_fraction"]).all()
        assert (study["high_frequency_fraction"] < study["high_frequency_high"]).all()

    def test_samples_of_other_images_are_refused(self, comparison, images, samples):
        with pytest.raises(ArtifactError, match="do not match the image table"):
            study_interpolation(comparison, None, images, samples.iloc[::-1])

    def test_its_figure_has_all_of_them(self, study):
        labels = plot_interpolation(study).axes[0].get_yticklabels()
        assert [label.get_text() for label in labels] == ["bilinear", "bicubic", "none"]
