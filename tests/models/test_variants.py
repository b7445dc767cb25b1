"""The mechanism of comparisons on planted classifiers: what is kept, told and measured, and what is resumed."""

import io
import shutil
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from glasshead.calibration.params import CalibrateParams, EvaluateParams
from glasshead.calibration.scaling import score_logits
from glasshead.errors import ArtifactError, SplitError
from glasshead.images.sources.base import plain_record
from glasshead.images.table import ImageTable
from glasshead.models.cnn import build_cnn
from glasshead.models.inference import predict_logits
from glasshead.models.store import VariantStore
from glasshead.models.variants import fit_each, measure_variants, name_of

CALIBRATION, EVALUATION = CalibrateParams(), EvaluateParams()
ON_CPU = SimpleNamespace(device="cpu")


class Planted(NamedTuple):
    width: float
    replicate: int


VARIANTS = [Planted(0.05, 0), Planted(0.1, 1)]


@pytest.fixture(scope="module")
def images() -> ImageTable:
    rng = np.random.default_rng(0)

    def record(row: int):
        data = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(data, "PNG")
        return plain_record(f"train/{row:03d}", data.getvalue(), "ab"[row % 2], None)

    return ImageTable.from_records(map(record, range(60)), ("a", "b"))


@pytest.fixture(scope="module")
def samples(images) -> pd.DataFrame:
    frame = images.frame()
    return frame.assign(split=np.resize(["train", "calibration", "test"], len(frame)))


def classifier(variant: Planted):
    return build_cnn(
        "fast_cnn",
        ("a", "b"),
        16,
        mean=(0.5,) * 3,
        std=(0.2,) * 3,
        provenance={},
        seed=variant.replicate,
        width=variant.width,
        resize="bilinear",
    )


def fit(checkpoints, variant: Planted):
    """Stand in for a training of as many epochs as its replicate has, and one more."""
    epochs = np.arange(1, variant.replicate + 2)
    history = pd.DataFrame({"epoch": epochs, "images_seen": 10 * epochs, "seconds": 0.5 * epochs})
    checkpoints.path.mkdir(parents=True)
    return classifier(variant), history, pd.DataFrame({"step": epochs, "loss": 1.0})


@pytest.fixture
def store(tmp_path) -> VariantStore:
    return VariantStore(tmp_path / "variants", "classifier")


@pytest.fixture
def told(store) -> list:
    """What the store's observer hears: variant, names of results, whether that is all."""
    heard = []
    store.observe = lambda variant, results, finished: heard.append(
        (variant, sorted(results), finished)
    )
    return heard


def measure(store, histories, images, samples) -> pd.DataFrame:
    return measure_variants(images, samples, store, histories, ON_CPU, CALIBRATION, EVALUATION)


def trainings():
    return {variant: partial(fit, variant=variant) for variant in VARIANTS}


def test_each_variant_is_kept_with_its_checkpoints(store):
    histories = fit_each(store, trainings())
    assert [name_of(variant) for variant in VARIANTS] == store.names() == ["0.05_0", "0.1_1"]
    for variant in VARIANTS:
        folder = store.path / name_of(variant)
        assert sorted(path.name for path in folder.iterdir()) == ["checkpoints", "classifier"]
        ours, theirs = store.load(name_of(variant)), classifier(variant)
        assert ours.weights_digest() == theirs.weights_digest()
    assert list(histories.columns) == ["width", "replicate", "epoch", "images_seen", "seconds"]
    assert histories["replicate"].tolist() == [0, 1, 1]


def test_an_observer_hears_of_each_variant_as_it_is_made(store, told, images, samples):
    histories = fit_each(store, trainings())
    fitted = [("0.05_0", results, False) for results in ([], ["audit_log"], ["step_log"])]
    assert told[:3] == fitted
    measure(store, histories, images, samples)
    assert told[6:] == [("0.05_0", ["metrics"], True), ("0.1_1", ["metrics"], True)]


def test_those_before_a_failure_are_kept_and_told_of(store, told):
    def fail(checkpoints):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fit_each(store, trainings() | {VARIANTS[1]: fail})
    assert store.names() == ["0.05_0"]
    assert told[-1] == ("0.1_1", [], False)


def test_a_variant_is_measured_as_any_classifier(store, images, samples):
    histories = fit_each(store, trainings())
    runs = measure(store, histories, images, samples)
    for variant, row in zip(VARIANTS, runs.to_dict("records"), strict=True):
        logits = predict_logits(classifier(variant), images, samples, ON_CPU)
        scores = score_logits(logits, CALIBRATION, 15)
        epochs = variant.replicate + 1
        effort = {"epochs": epochs, "images_seen": 10 * epochs, "seconds": 0.5 * epochs}
        assert row == pytest.approx(variant._asdict() | scores | effort)


def test_a_variant_that_is_not_there_is_named(store, images, samples):
    histories = fit_each(store, trainings())
    shutil.rmtree(store.folder("0.1_1"))
    with pytest.raises(ArtifactError, match=r"no Classifier '0\.1_1'"):
        measure(store, histories, images, samples)


def test_without_test_rows_there_is_nothing_to_measure(store, images, samples):
    histories = fit_each(store, trainings())
    without = samples.assign(split=samples["split"].replace("test", "calibration"))
    with pytest.raises(SplitError, match="test split is empty"):
        measure(store, histories, images, without)
