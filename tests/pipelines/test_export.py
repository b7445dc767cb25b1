"""The export pipeline on a small untrained network: what it measures, on which rows, and its gate."""

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from PIL import Image
from pydantic import ValidationError

from glasshead.errors import GateError, SplitError
from glasshead.models.classifier import Classifier, as_images
from glasshead.models.cnn import build_cnn
from glasshead.pipelines.export.nodes import ExportParams, check_parity, export_onnx, export_program
from glasshead.pipelines.export.pipeline import create_pipeline

CLASSES = ("car", "cat", "ship")
ROWS = 90
PARAMETERS = ExportParams(images=25, n_resamples=50, latency={"batches": (1, 3), "repeats": 4})


class KeptDataset(MemoryDataset):
    """Stays when the runner has no more use for it, so that a test can look at what lay between."""

    def _release(self):
        pass


class FakeImages:
    """Stands in for an ImageTable of noise; remembers which rows were looked at."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def check_rows(self, samples):
        assert len(samples) == ROWS

    def pil(self, row):
        self.seen.add(row)
        noise = np.random.default_rng(row).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        return Image.fromarray(noise).resize((16, 16))


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    colours = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.2, 0.2)}
    cnn = build_cnn("compact_cnn", CLASSES, 16, **colours, width=0.125, provenance={}, seed=0)
    return cnn.eval().with_temperatures({"final": 0.1})


@pytest.fixture(scope="module")
def samples() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": np.arange(ROWS).astype(str),
            "split": np.resize(["train", "test", "calibration"], ROWS),
            "label": np.resize(CLASSES, ROWS)[::-1],
        }
    )


@pytest.fixture(scope="module")
def images() -> FakeImages:
    return FakeImages()


@pytest.fixture(scope="module")
def outputs(classifier, samples, images) -> dict[str, object]:
    pipeline = create_pipeline()
    inputs = {
        "classifier": classifier,
        "images": images,
        "samples": samples,
        "predictions": samples,
        "params:export": PARAMETERS,
        "params:seed": 0,
    }
    names = pipeline.all_outputs()
    catalog = DataCatalog(
        {name: MemoryDataset(value, copy_mode="assign") for name, value in inputs.items()}
        | {name: KeptDataset(copy_mode="assign") for name in names}
    )
    SequentialRunner().run(pipeline, catalog)
    return {name: catalog.load(name) for name in names}


def test_exports_are_the_classifier(outputs):
    for name in ("onnx", "program"):
        found = outputs["export_metrics"][name]
        assert (found["agreement"], found["n"]) == (1, 25)
        assert found["largest_difference"] < 1e-4
    assert outputs["export_metrics"]["onnx"]["bytes"] == len(outputs["onnx"])
    assert outputs["export_metrics"]["onnx"]["opset"] == 18


def test_the_same_classifier_gives_the_same_onnx_bytes(outputs, classifier):
    assert export_onnx(classifier, PARAMETERS) == outputs["onnx"]


def test_only_test_rows_are_looked_at(outputs, images, samples):
    assert len(images.seen) == 25
    assert set(samples["split"].iloc[sorted(images.seen)]) == {"test"}


def test_quality_is_that_of_the_rows_that_were_drawn(outputs, classifier, images, samples):
    rows = sorted(images.seen)
    pixels = classifier.prepare([images.pil(row) for row in rows])
    with torch.no_grad():
        probabilities = classifier.probabilities(as_images(pixels)).numpy()
    labels = np.array([CLASSES.index(label) for label in samples["label"].iloc[rows]])
    own = outputs["export_metrics"]["classifier"]
    assert own["accuracy"]["value"] == pytest.approx(np.mean(probabilities.argmax(1) == labels))
    nll = -np.log(probabilities[np.arange(25), labels]).mean()
    assert own["nll"]["value"] == pytest.approx(nll, rel=1e-4)
    assert 0 < own["ece"]["value"] < 1


def test_the_cost_of_int8_is_the_difference_that_it_makes(outputs):
    own, small = (outputs["export_metrics"][name] for name in ("classifier", "onnx_int8"))
    for measure, sign in (("accuracy", 1), ("nll", -1)):
        difference = own[measure]["value"] - small[measure]["value"]
        cost = small[f"{measure}_cost"]
        assert cost["value"] == pytest.approx(sign * difference)
        assert cost["low"] <= cost["value"] <= cost["high"]
    assert 0 < small["largest_difference"] < 0.5


def test_latency_is_that_of_every_runtime_and_batch(outputs):
    table = outputs["latency"]
    places = set(zip(table["runtime"], table["batch"], strict=True))
    assert places == {(name, n) for name in ("pytorch", "onnx", "onnx_int8") for n in (1, 3)}
    assert (table["repeats"] == 4).all()
    assert ((table["p50_ms"] > 0) & (table["p50_ms"] <= table["p99_ms"])).all()
    per_second = 1000 * table["batch"] / table["p50_ms"]
    np.testing.assert_allclose(table["images_per_second"], per_second)


@pytest.mark.parametrize(
    ("agreement", "difference", "passes"),
    [(1.0, 1e-4, True), (0.999, 0.0, True), (0.998, 0.0, False), (1.0, 2e-4, False)],
)
@pytest.mark.parametrize("name", ["onnx", "program"])
def test_the_gate_fails_what_is_another_classifier(name, agreement, difference, passes):
    good = {"agreement": 1.0, "largest_difference": 0.0, "n": 1000}
    found = good | {"agreement": agreement, "largest_difference": difference}
    metrics = {"onnx": good, "program": good, "onnx_int8": good | {"agreement": 0.5}, name: found}
    if passes:
        check_parity(metrics, ExportParams())
    else:
        with pytest.raises(GateError, match=f"The export {name} differs from the classifier"):
            check_parity(metrics, ExportParams())


def test_without_test_rows_there_is_nothing_to_compare_on(classifier, images, samples):
    with pytest.raises(SplitError, match="test split is empty"):
        export_program(classifier, images, samples.assign(split="train"), PARAMETERS, 0)


@pytest.mark.parametrize(
    "wrong", [{"opset": 11}, {"images": 0}, {"latency": {"batch": [1]}}, {"quantise": True}]
)
def test_a_mistyped_parameter_is_refused(wrong):
    with pytest.raises(ValidationError):
        ExportParams(**wrong)
