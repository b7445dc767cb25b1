"""`robustness` of a classifier whose every worst case is known: it compares the mean grey level with the middle."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from pydantic import ValidationError
from torch import Tensor, nn

from glasshead.errors import ArtifactError, ParameterError, SplitError
from glasshead.images.fitting import fitting_digest, select_fitting_samples
from glasshead.images.sources.base import plain_record
from glasshead.images.table import ImageTable
from glasshead.models.classifier import Classifier
from glasshead.pipelines.robustness.nodes import RobustnessParams, measure_robustness

ROOT = Path(__file__).parents[2]
CLASSES = ("dark", "bright")
TEST = 80
SMALL = RobustnessParams(
    images=TEST, gaussian_noise=(), gaussian_blur=(), jpeg=(), fgsm=(), pgd=(), n_resamples=50
)


class Brightness(Classifier):
    """Logits -100 and 100 times the mean of the pixels less 0.5; fails on batches of more than `most`."""

    kind = "brightness"

    def __init__(self, provenance: dict[str, Any]) -> None:
        super().__init__(CLASSES, 8, provenance)
        self.gain = nn.Parameter(torch.tensor(100.0))
        self.temperatures = {"final": 2.0}
        self.most = 10**6
        self.sizes: set[tuple[int, int]] = set()

    @property
    def settings(self) -> dict[str, Any]:
        return {}

    def prepare(self, images: list[Image.Image]) -> Tensor:
        self.sizes |= {image.size for image in images}
        small = [np.asarray(image.resize((8, 8), Image.Resampling.BOX)) for image in images]
        return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).contiguous()

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.most:
            raise torch.OutOfMemoryError("planted")
        above = self.gain * (images.mean(dim=(1, 2, 3)) - 0.5)
        return torch.stack([-above, above], dim=1)


def level(row: int) -> int:
    """Return the grey level of an image: 2.5, 3.5, … above the middle of the range, and as far below it."""
    return 130 + row // 2 if row % 2 else 125 - row // 2


@pytest.fixture(scope="module")
def images() -> ImageTable:
    def record(row: int):
        data = io.BytesIO()
        Image.new("RGB", (24, 16), (level(row),) * 3).save(data, "PNG")
        return plain_record(f"image/{row:03d}", data.getvalue(), CLASSES[row % 2], None)

    return ImageTable.from_records(map(record, range(TEST + 8)), CLASSES)


@pytest.fixture(scope="module")
def samples(images) -> pd.DataFrame:
    split = ["test"] * TEST + ["train"] * 4 + ["validation"] * 4
    return images.frame().assign(class_index=np.arange(TEST + 8) % 2, split=split)


@pytest.fixture
def classifier(images, samples) -> Brightness:
    rows = fitting_digest(select_fitting_samples(images, samples))
    return Brightness({"data": images.digest(), "fitting_rows": rows})


def measured(classifier, images, samples, /, seed: int = 0, **changed: Any) -> pd.DataFrame:
    parameters = SMALL.model_copy(update=changed)
    return measure_robustness(classifier, images, samples, parameters, seed)


def test_attacks_flip_exactly_the_images_nearer_than_epsilon(classifier, images, samples):
    """Each pixel moves by epsilon, and so does the mean: 2.5 levels to the middle for the nearest two images."""
    table = measured(classifier, images, samples, fgsm=(0, 2, 3, 12, 30), pgd=(0, 2, 3, 12, 30))
    flipped = [0, 0, 2, 20, 56]
    expected = [1.0, *(2 * [1 - count / TEST for count in flipped])]
    np.testing.assert_allclose(table["accuracy"], expected)
    assert table["perturbation"].tolist() == ["clean", *["fgsm"] * 5, *["pgd"] * 5]
    assert (table.loc[1:, "unit"] == "1/255").all()


def test_epsilon_0_is_the_clean_row(classifier, images, samples):
    table = measured(
        classifier, images, samples, fgsm=(0,), pgd=(0,), gaussian_noise=(0,), gaussian_blur=(0,)
    )
    numbers = table.drop(columns=["perturbation", "unit"])
    for row in range(1, 5):
        pd.testing.assert_series_equal(numbers.loc[row], numbers.loc[0], check_names=False)


def test_confidence_is_calibrated(classifier, images, samples):
    (clean,) = measured(classifier, images, samples).to_dict("records")
    distance = np.array([abs(level(row) / 255 - 0.5) for row in range(TEST)])
    expected = 1 / (1 + np.exp(-2 * 100 * distance / 2))
    assert clean["confidence"] == pytest.approx(expected.mean(), abs=1e-5)


def test_more_noise_costs_more(classifier, images, samples):
    table = measured(classifier, images, samples, gaussian_noise=(0, 200, 5000))
    clean, none, much, chance = table["accuracy"]
    assert clean == none == 1
    assert clean > much > chance
    assert table["difference_high"].iloc[-1] < 0


def test_flat_pictures_do_not_mind_blur_or_jpeg(classifier, images, samples):
    table = measured(classifier, images, samples, gaussian_blur=(4,), jpeg=(80,))
    assert table["accuracy"].tolist() == [1, 1, 1]
    assert table["unit"].tolist() == ["", "% of the shorter side", "quality"]


def test_pictures_are_corrupted_as_they_were_given(classifier, images, samples):
    measured(classifier, images, samples, gaussian_noise=(8,), gaussian_blur=(4,), jpeg=(50,))
    assert classifier.sizes == {(24, 16)}


def test_seed_decides_and_batches_do_not(classifier, images, samples):
    changes = {"images": 30, "gaussian_noise": (200,), "pgd": (4,)}
    first = measured(classifier, images, samples, **changes)
    assert measured(classifier, images, samples, **changes).equals(first)
    batched = measured(classifier, images, samples, batch_size=7, **changes)
    pd.testing.assert_frame_equal(batched, first)
    assert not measured(classifier, images, samples, seed=1, **changes).equals(first)
    assert (first["n"] == 30).all()


def test_where_memory_ends_batches_are_halved(classifier, images, samples, caplog):
    whole = measured(classifier, images, samples, fgsm=(12,), pgd=(12,))
    classifier.most = 5
    halved = measured(classifier, images, samples, fgsm=(12,), pgd=(12,))
    pd.testing.assert_frame_equal(halved, whole)
    assert "continuing with 4" in caplog.text
    classifier.most = 0
    with pytest.raises(ParameterError, match="A single image does not fit"):
        measured(classifier, images, samples)


def test_the_classifier_comes_back_as_it_was(classifier, images, samples):
    measured(classifier, images, samples, pgd=(4,))
    assert all(weight.requires_grad and weight.grad is None for weight in classifier.parameters())


class TestBadInput:
    def test_one_image(self, classifier, images, samples):
        (row,) = measured(classifier, images, samples, images=1).to_dict("records")
        assert (row["accuracy"], row["n"]) == (1, 1)
        assert pd.isna(row["low"])

    def test_no_test_row(self, classifier, images, samples):
        split = samples["split"].replace("test", "calibration")
        with pytest.raises(SplitError, match="the test split is empty"):
            measured(classifier, images, samples.assign(split=split))

    def test_a_classifier_of_other_images(self, classifier, images, samples):
        classifier.provenance["data"] = "0" * 64
        with pytest.raises(ArtifactError, match="was trained on other images"):
            measured(classifier, images, samples)

    def test_a_classifier_that_may_have_seen_these_test_rows(self, classifier, images, samples):
        moved = samples.assign(split=samples["split"].to_list()[4:] + ["test"] * 4)
        with pytest.raises(ArtifactError, match="was trained on other splits"):
            measured(classifier, images, moved)

    def test_samples_of_other_images(self, classifier, images, samples):
        with pytest.raises(ArtifactError, match="--pipelines=preprocess`"):
            measured(classifier, images, samples.assign(label="dark"))

    @pytest.mark.parametrize(
        "changed", [{"jpeg": [0]}, {"jpeg": [101]}, {"fgsm": [-1]}, {"images": 0}, {"blur": [1]}]
    )
    def test_parameters_out_of_range(self, changed):
        with pytest.raises(ValidationError):
            RobustnessParams(**changed)


def test_the_defaults_are_those_of_the_base_environment():
    text = (ROOT / "conf/base/parameters_robustness.yml").read_text()
    assert RobustnessParams(**yaml.safe_load(text)["robustness"]) == RobustnessParams()
