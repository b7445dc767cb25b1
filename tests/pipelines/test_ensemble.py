"""`ensemble`: the members are those named, of the same images, and the mean is theirs."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from glasshead.errors import ArtifactError, ParameterError
from glasshead.images.fitting import fitting_digest, predict_majority, select_fitting_samples
from glasshead.images.sources.base import plain_record
from glasshead.images.table import ImageTable
from glasshead.models.cnn import build_cnn
from glasshead.models.inference import predict_logits
from glasshead.models.pretrained import PretrainedParams, build_transfer
from glasshead.models.store import ClassifierStore
from glasshead.pipelines.ensemble.nodes import EnsembleParams, average_classifiers

CLASSES = ("red", "green", "blue")
PARAMETERS = EnsembleParams(members=("cnn", "transfer"))


@pytest.fixture(scope="module")
def images() -> ImageTable:
    rng = np.random.default_rng(0)

    def record(row: int):
        data = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(data, "PNG")
        return plain_record(f"train/{row:03d}", data.getvalue(), CLASSES[row % 3], None)

    return ImageTable.from_records(map(record, range(24)), CLASSES)


@pytest.fixture(scope="module")
def samples(images) -> pd.DataFrame:
    frame = images.frame()
    split = np.repeat(["train", "validation", "calibration", "test"], 6)
    return frame.assign(class_index=np.arange(24) % 3, split=split)


@pytest.fixture
def fitting(samples) -> pd.DataFrame:
    return samples[samples["split"].isin(["train", "validation"])]


@pytest.fixture
def store(images, fitting, tmp_path) -> ClassifierStore:
    """A CNN at temperature 3 and a transfer network at 0.5, and CNNs of other images and of other splits."""
    store = ClassifierStore(tmp_path, "calibrated")
    colour = (0.5, 0.5, 0.5)

    def save(name: str, classifier, temperature: float) -> None:
        store.save(name, classifier.with_temperatures({"final": temperature}))

    rows, data = fitting_digest(fitting), images.digest()
    ours = {"data": data, "fitting_rows": rows}
    others = {
        "other": ours | {"data": "of other images"},
        "split": ours | {"fitting_rows": "of others"},
    }
    for name, provenance in ({"cnn": ours} | others).items():
        cnn = build_cnn(
            "compact_cnn",
            CLASSES,
            20,
            mean=colour,
            std=colour,
            provenance=provenance,
            seed=1,
            width=0.1,
        )
        save(name, cnn, 3.0)
    params = PretrainedParams(width=0.125, pretrained="none", backbone_size=32)
    network = build_transfer(params, CLASSES, 24, ours, seed=2)
    save("transfer", network, 0.5)
    return store


def test_logits_are_the_logarithm_of_the_mean_calibrated_probability(
    store, images, fitting, samples
):
    ensemble = average_classifiers(store, images, fitting, PARAMETERS)
    table = predict_logits(ensemble, images, samples, PARAMETERS)
    pixels = ensemble.prepare([images.pil(row) for row in range(24)]).float() / 255
    assert pixels.shape[-1] == 24
    small = torch.nn.functional.interpolate(pixels, (20, 20), mode="bilinear", antialias=True)
    with torch.inference_mode():
        parts = [
            (store.load("cnn")(small) / 3).softmax(-1),
            (store.load("transfer")(pixels) / 0.5).softmax(-1),
        ]
    expected = (sum(parts) / 2).log().numpy()
    found = table[[f"logit/{name}" for name in CLASSES]].to_numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    identity = ["image_id", "split", "label"]
    pd.testing.assert_frame_equal(table[identity], samples[identity])


def test_the_provenance_holds_that_of_every_member(store, images, fitting):
    ensemble = average_classifiers(store, images, fitting, PARAMETERS)
    assert ensemble.provenance["data"] == images.digest()
    members = ensemble.provenance["members"]
    assert members == {name: store.load(name).provenance for name in PARAMETERS.members}


def test_a_member_that_is_not_there_is_named(store, images, fitting):
    with pytest.raises(
        ArtifactError, match=r"no Classifier 'heads' .* cnn, other, split, transfer"
    ):
        average_classifiers(store, images, fitting, EnsembleParams(members=("cnn", "heads")))


def test_a_member_of_other_images_is_refused(store, images, fitting):
    with pytest.raises(ArtifactError, match="classifier other was trained on other images"):
        average_classifiers(store, images, fitting, EnsembleParams(members=("cnn", "other")))


def test_a_member_of_another_split_is_refused(store, images, fitting):
    """It may have been fitted on what are test rows now."""
    with pytest.raises(ArtifactError, match="classifier split was trained on other splits"):
        average_classifiers(store, images, fitting, EnsembleParams(members=("cnn", "split")))


def test_each_member_counts_once(store, images, fitting):
    with pytest.raises(ParameterError, match="names a classifier twice"):
        average_classifiers(store, images, fitting, EnsembleParams(members=("cnn", "cnn")))


def test_one_member_is_no_ensemble():
    with pytest.raises(ValidationError):
        EnsembleParams(members=("cnn",))


def test_the_majority_is_for_rows_that_nothing_was_fitted_on(images, samples):
    label = samples["class_index"].where(samples["split"] != "train", 2)
    fitting = select_fitting_samples(images, samples).assign(class_index=label[:12].to_numpy())
    baselines = predict_majority(images, fitting)
    assert baselines["image_id"].tolist() == samples["image_id"].tolist()[12:]
    assert baselines["majority"].unique().tolist() == ["blue"]
