import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from pydantic import ValidationError
from scipy.special import softmax

from glasshead.calibration.params import CalibrateParams
from glasshead.calibration.scaling import fit_temperatures, select_calibration
from glasshead.errors import CalibrationError, SplitError
from glasshead.pipelines.calibrate.pipeline import create_pipeline

CLASSES = ["car", "cat", "ship"]
PLANTED = {"final": 2.0, "legs": 0.5}


class KeptDataset(MemoryDataset):
    """Stays when the runner has no more use for it, so that a test can look at what lay between."""

    def _release(self):
        pass


class FakeClassifier:
    """Stands in for a Classifier: remembers what it was given."""

    def __init__(self, temperatures=None, abstention=None):
        self.temperatures, self.abstention = temperatures, abstention

    def with_temperatures(self, temperatures):
        return FakeClassifier(temperatures, self.abstention)

    def with_abstention(self, abstention):
        return FakeClassifier(self.temperatures, abstention)


def sharpened(rng, n, k, temperature):
    """Return labels drawn from softmax(z) and the logits T z, whose best temperature is T."""
    logits = rng.normal(scale=1.5, size=(n, k))
    cumulated = softmax(logits, axis=1).cumsum(axis=1)
    return temperature * logits, (cumulated < rng.random((n, 1))).sum(axis=1).clip(max=k - 1)


def make_logits(n=8000, seed=0):
    """Return a logits table of which half is calibration, with the PLANTED temperatures there."""
    rng = np.random.default_rng(seed)
    final, labels = sharpened(rng, n, 3, PLANTED["final"])
    legs, targets = sharpened(rng, n, 2, PLANTED["legs"])
    return pd.DataFrame(
        {
            "image_id": [f"image/{row}" for row in range(n)],
            "split": np.resize(["calibration", "test", "calibration", "train"], n),
            "label": np.array(CLASSES)[labels],
            **{f"logit/{name}": final[:, index] for index, name in enumerate(CLASSES)},
            "concept_logit/legs/none": legs[:, 0],
            "concept_logit/legs/four": legs[:, 1],
            "target/legs": targets,
        }
    )


def run(logits, target_error=0.2):
    """Run the pipeline in memory and return all its outputs by name."""
    inputs = {
        "logits": logits,
        "uncalibrated": FakeClassifier(),
        "params:calibrate": CalibrateParams(target_error=target_error),
    }
    pipeline = create_pipeline()
    names = pipeline.all_outputs()
    catalog = DataCatalog(
        {name: MemoryDataset(value) for name, value in inputs.items()}
        | {name: KeptDataset(copy_mode="assign") for name in names}
    )
    SequentialRunner().run(pipeline, catalog)
    return {name: catalog.load(name) for name in names}


@pytest.fixture(scope="module")
def logits():
    return make_logits()


@pytest.fixture(scope="module")
def outputs(logits):
    return run(logits)


def test_the_planted_temperatures_are_found(outputs):
    assert outputs["temperatures"] == pytest.approx(PLANTED, rel=0.08)
    assert outputs["classifier"].temperatures == outputs["temperatures"]


def test_only_calibration_rows_decide(logits, outputs):
    others = logits["split"] != "calibration"
    changed = logits.copy()
    columns = [name for name in logits if "logit/" in name]
    changed.loc[others, columns] = np.random.default_rng(1).normal(
        size=(others.sum(), len(columns))
    )
    changed.loc[others, "label"] = "cat"
    again = run(changed)
    assert again["temperatures"] == outputs["temperatures"]
    assert again["abstention"] == outputs["abstention"]


def test_the_threshold_is_that_of_calibrated_confidence_on_calibration_rows(outputs):
    predictions, found = outputs["predictions"], outputs["abstention"]
    rows = predictions[predictions["split"] == "calibration"]
    answered = rows[rows["confidence"] > found["threshold"]]
    assert 0 < found["threshold"] < 1
    assert found["rows"] == len(rows)
    assert found["coverage"] == pytest.approx(len(answered) / len(rows))
    assert found["error"] == pytest.approx((answered["label"] != answered["predicted"]).mean())
    assert outputs["classifier"].abstention == found


def test_a_target_that_cannot_be_kept_is_said(logits, caplog):
    found = run(logits, target_error=1e-4)["abstention"]
    assert found["threshold"] is None
    assert "calibrate.target_error = 0.0001 on 4000 calibration rows" in caplog.text


def test_predictions_are_softmax_over_temperature_for_all_rows(logits, outputs):
    predictions, temperatures = outputs["predictions"], outputs["temperatures"]
    assert list(predictions) == [
        *["image_id", "split", "label", "predicted", "confidence"],
        *[f"probability/{name}" for name in CLASSES],
        *["concept/legs/none", "concept/legs/four"],
    ]
    pd.testing.assert_frame_equal(predictions.iloc[:, :3], logits.iloc[:, :3])
    raw = logits[[f"logit/{name}" for name in CLASSES]].to_numpy()
    expected = softmax(raw / temperatures["final"], axis=1)
    np.testing.assert_allclose(predictions.filter(like="probability/"), expected)
    np.testing.assert_allclose(predictions["confidence"], expected.max(axis=1))
    assert list(predictions["predicted"]) == [CLASSES[index] for index in raw.argmax(axis=1)]
    legs = logits[["concept_logit/legs/none", "concept_logit/legs/four"]].to_numpy()
    concepts = predictions[["concept/legs/none", "concept/legs/four"]]
    np.testing.assert_allclose(concepts, softmax(legs / temperatures["legs"], axis=1))


def test_a_classifier_without_concepts_walks_the_same_way(logits):
    plain = logits.drop(columns=[name for name in logits if "legs" in name])
    outputs = run(plain)
    assert list(outputs["temperatures"]) == ["final"]
    assert not [name for name in outputs["predictions"] if name.startswith("concept/")]


def test_fitting_is_reached_through_the_calibration_rows_alone():
    fit = create_pipeline().only_nodes("fit_temperatures", "fit_threshold")
    assert fit.inputs() == {"calibration_logits", "params:calibrate"}


@pytest.mark.parametrize("missing", [["ship"], CLASSES])
def test_a_class_without_calibration_rows_is_named(logits, missing):
    lacking = logits[(logits["split"] != "calibration") | ~logits["label"].isin(missing)]
    with pytest.raises(SplitError, match=f"no image of class {', '.join(missing)}\\."):
        select_calibration(lacking)


def test_a_classifier_that_is_always_right_is_an_error_or_kept_as_it_is(logits, caplog):
    right = logits.head(50).copy()
    right[[f"logit/{name}" for name in CLASSES]] = np.eye(3)[
        [CLASSES.index(label) for label in right["label"]]
    ]
    with pytest.raises(
        CalibrationError, match=r"The classifier has no .* all 50 .* right.* to keep"
    ):
        fit_temperatures(right, CalibrateParams(without_optimum="fail"))
    kept = fit_temperatures(right, CalibrateParams())
    assert kept["final"] == 1.0
    assert kept["legs"] != 1.0
    assert "'final'" in caplog.text


def test_a_head_that_is_always_right_keeps_one_with_a_warning(logits, caplog):
    right = logits.head(50).assign(
        **{"concept_logit/legs/none": 0.0, "concept_logit/legs/four": 4.0, "target/legs": 1}
    )
    temperatures = fit_temperatures(right, CalibrateParams())
    assert temperatures["legs"] == 1.0
    assert temperatures["final"] != 1.0
    assert "'legs'" in caplog.text


def test_a_mistyped_parameter_is_refused():
    with pytest.raises(ValidationError):
        CalibrateParams(without_optimum="ignore")
    with pytest.raises(ValidationError):
        CalibrateParams(without_optimun="keep")
    for wrong in ({"target_error": 0}, {"target_error": 1}, {"certainty": 1.5}):
        with pytest.raises(ValidationError):
            CalibrateParams(**wrong)
