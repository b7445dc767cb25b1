import json
import logging

import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner
from matplotlib.figure import Figure
from PIL import Image
from pydantic import ValidationError
from scipy.special import expit, softmax
from scipy.stats import binomtest
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    log_loss,
    roc_auc_score,
)

from glasshead.calibration.params import CalibrateParams, EvaluateParams
from glasshead.calibration.scaling import fit_temperatures, score_logits, select_calibration
from glasshead.calibration.table import apply_temperatures
from glasshead.errors import ArtifactError, GateError, SplitError
from glasshead.pipelines.evaluate.nodes import (
    check_gate,
    compute_metrics,
    find_confused_pairs,
    measure_class_recall,
    measure_reliability,
    select_test,
)
from glasshead.pipelines.evaluate.pipeline import create_pipeline, gate_pipeline
from glasshead.reporting.risk_figures import MAPS

CLASSES = ["car", "cat", "ship"]
PARAMETERS = EvaluateParams(n_resamples=100)
TEMPERATURES = {"final": 2.0, "legs": 0.5}
LOCALISATION = [f"{measure}{end}" for measure in ("iou", "pointing_game") for end in MAPS]
LABELS = {"red": 0.5, "big": 2.0}  # with their temperatures
CONCEPTS = "concept/legs/none", "concept/legs/four"
ABSTENTION = {"threshold": 0.8, "target_error": 0.05, "certainty": 0.95}
CONTRACT = {
    *["accuracy", "macro_f1", "top2_accuracy", "nll", "brier", "ece", "ece_debiased"],
    *["ece_uncalibrated", "ece_equal_mass", "ece_classwise", "ece_consistency_95"],
    *["temperature", "nll_uncalibrated", "coverage", "selective_risk"],
}
FOR_HEADS = {
    *["accuracy_linear_probe", "accuracy_majority", "accuracy_random_concepts"],
    *["subtask/legs/accuracy", "subtask/legs/ece"],
}


class KeptDataset(MemoryDataset):
    """Stays when the runner has no more use for it, so that a test can look at what lay between."""

    def _release(self):
        pass


class FakeImages:
    """Stands in for an ImageTable of flat grey images."""

    def __init__(self, table):
        self.table = table[["image_id", "label"]]

    def frame(self):
        return self.table

    def check_rows(self, samples):
        if not samples[["image_id", "label"]].equals(self.table):
            raise ArtifactError("Run the preprocess pipeline again.")

    def pil(self, row):
        return Image.new("RGB", (8, 8), (row % 256,) * 3)


def make_tables(n=900, seed=0):
    """Return (logits, baselines, predictions) of `n` rows, a third of them test."""
    rng = np.random.default_rng(seed)
    labels, targets = rng.integers(3, size=n), rng.integers(2, size=n)
    final = 3 * rng.normal(size=(n, 3)) + 6 * np.eye(3)[labels]
    legs = rng.normal(size=(n, 2)) + np.eye(2)[targets]
    names = np.array(CLASSES)
    identity = pd.DataFrame(
        {
            "image_id": [f"image/{row}" for row in range(n)],
            "split": np.resize(["calibration", "test", "train"], n),
            "label": names[labels],
        }
    )
    logits = identity.assign(
        **{f"logit/{name}": final[:, index] for index, name in enumerate(CLASSES)},
        **{"concept_logit/legs/none": legs[:, 0], "concept_logit/legs/four": legs[:, 1]},
        **{"target/legs": targets},
    )
    baselines = identity.assign(
        majority="cat",
        linear_probe=identity["label"],
        **{f"random_concepts/{seed}": names[rng.integers(3, size=n)] for seed in range(3)},
    )
    probabilities = softmax(final / TEMPERATURES["final"], axis=1)
    predictions = identity.assign(
        predicted=names[final.argmax(axis=1)],
        confidence=probabilities.max(axis=1),
        **{f"probability/{name}": probabilities[:, index] for index, name in enumerate(CLASSES)},
        **dict(zip(CONCEPTS, softmax(legs / TEMPERATURES["legs"], axis=1).T, strict=True)),
    )
    return logits, baselines, predictions


def measure(logits, baselines, predictions, temperatures=TEMPERATURES, abstention=ABSTENTION):
    samples = predictions[["image_id", "split", "label"]]
    test = select_test(FakeImages(samples), samples, logits, predictions)
    return compute_metrics(
        test, samples, temperatures, PARAMETERS, 0, abstention=abstention, baselines=baselines
    )


def rows_of_test(table):
    """Return the test rows of `table`."""
    return table[table["split"] == "test"].reset_index(drop=True)


@pytest.fixture(scope="module")
def tables():
    return make_tables()


@pytest.fixture(scope="module")
def metrics(tables):
    return measure(*tables)


def run(pipeline, inputs):
    """Run `pipeline` in memory and return its outputs by name."""
    names = pipeline.all_outputs()
    catalog = DataCatalog(
        {name: MemoryDataset(value) for name, value in inputs.items()}
        | {name: KeptDataset(copy_mode="assign") for name in names}
    )
    SequentialRunner().run(pipeline, catalog)
    return {name: catalog.load(name) for name in names}


def test_the_pipeline_gives_metrics_tables_and_figures(tables, metrics):
    logits, baselines, predictions = tables
    outputs = run(
        create_pipeline(),
        {
            "logits": logits,
            "baselines": baselines,
            "predictions": predictions,
            "temperatures": TEMPERATURES,
            "abstention": ABSTENTION,
            "images": FakeImages(logits),
            "samples": logits[["image_id", "split", "label"]],
            "params:evaluate": PARAMETERS,
            "params:seed": 0,
        },
    )
    assert outputs["metrics"] == metrics
    drawn = {name for name, value in outputs.items() if isinstance(value, Figure)}
    kinds = ["confusion_matrix", "class_recall", "reliability", "confused_pairs"]
    assert drawn == {f"{kind}_figure" for kind in kinds}
    tables = {"metrics", "class_recall", "confused_pairs", "reliability", "test_predictions"}
    assert set(outputs) - drawn == tables | {"findings"}


def test_reliability_holds_the_bins_that_make_the_ece(tables, metrics):
    logits, _, predictions = tables
    samples = predictions[["image_id", "split", "label"]]
    test = select_test(FakeImages(samples), samples, logits, predictions)
    bins = measure_reliability(test, PARAMETERS)
    assert bins["n"].sum() == len(test)
    gaps = bins["n"] @ (bins["confidence"] - bins["accuracy"]).abs() / len(test)
    assert gaps == pytest.approx(metrics["ece"]["value"])
    for row in bins.to_dict("records"):
        inside = test[test["confidence"].between(row["from"], row["to"], inclusive="left")]
        right = int((inside["label"] == inside["predicted"]).sum())
        assert (len(inside), right / len(inside)) == (row["n"], pytest.approx(row["accuracy"]))
        interval = binomtest(right, len(inside)).proportion_ci(method="wilson")
        assert (row["low"], row["high"]) == (
            pytest.approx(interval.low),
            pytest.approx(interval.high),
        )


def test_metrics_are_those_of_the_contract_and_json(metrics):
    assert set(metrics) == CONTRACT | FOR_HEADS
    assert all(list(entry) == ["value", "low", "high", "n"] for entry in metrics.values())
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_a_classifier_without_concepts_or_baselines_has_the_common_metrics(tables):
    logits, baselines, predictions = tables
    plain, answers = (
        table.drop(columns=[name for name in table if "legs" in name])
        for table in (logits, predictions)
    )
    nothing = baselines[["image_id", "split", "label"]].head(0)
    assert set(measure(plain, nothing, answers, {"final": 2.0})) == CONTRACT


def test_values_are_those_of_scikit_learn_on_rows_of_test(tables, metrics):
    predictions = tables[2].query("split == 'test'")
    probabilities = predictions.filter(like="probability/").to_numpy()
    true, predicted = predictions["label"], predictions["predicted"]
    assert metrics["accuracy"]["value"] == np.mean(true == predicted)
    assert metrics["macro_f1"]["value"] == pytest.approx(f1_score(true, predicted, average="macro"))
    assert metrics["nll"]["value"] == pytest.approx(log_loss(true, probabilities, labels=CLASSES))
    assert metrics["accuracy"]["n"] == 300


def test_intervals_hold_their_values(metrics):
    without = {name for name, entry in metrics.items() if entry["low"] is None}
    assert without == {"temperature", "ece_consistency_95"}
    for name in set(metrics) - without:
        assert metrics[name]["low"] <= metrics[name]["value"] <= metrics[name]["high"], name


def test_before_and_after_differ_by_the_temperature(tables, metrics):
    logits = tables[0].query("split == 'test'")
    raw = softmax(logits.filter(regex="^logit/").to_numpy(), axis=1)
    expected = log_loss(logits["label"], raw, labels=CLASSES)
    assert metrics["nll_uncalibrated"]["value"] == pytest.approx(expected)
    assert metrics["nll"]["value"] < metrics["nll_uncalibrated"]["value"]
    assert metrics["ece"]["value"] != metrics["ece_uncalibrated"]["value"]
    assert metrics["temperature"] == {"value": 2.0, "low": None, "high": None, "n": 300}


def test_coverage_and_risk_are_those_of_the_answers_above_the_threshold(tables, metrics):
    predictions = rows_of_test(tables[2])
    answered = predictions[predictions["confidence"] > 0.8]
    assert metrics["coverage"]["value"] == pytest.approx(len(answered) / 300)
    wrong = (answered["label"] != answered["predicted"]).mean()
    assert metrics["selective_risk"]["value"] == pytest.approx(wrong)
    assert 0 < wrong < 1 - metrics["accuracy"]["value"]


def test_without_answers_the_risk_is_undefined(tables):
    metrics = measure(*tables, abstention=ABSTENTION | {"threshold": None})
    assert metrics["coverage"]["value"] == 0
    assert metrics["selective_risk"] == {"value": None, "low": None, "high": None, "n": 300}


def test_baselines_are_scored_and_seeds_averaged(tables, metrics):
    baselines = tables[1].query("split == 'test'")
    seeds = [np.mean(baselines[f"random_concepts/{s}"] == baselines["label"]) for s in range(3)]
    assert metrics["accuracy_random_concepts"]["value"] == pytest.approx(np.mean(seeds))
    assert metrics["accuracy_majority"]["value"] == np.mean(baselines["label"] == "cat")
    assert metrics["accuracy_linear_probe"]["value"] == 1


def test_baselines_are_matched_by_image_id(tables, metrics):
    logits, baselines, predictions = tables
    assert measure(logits, baselines.sample(frac=1, random_state=0), predictions) == metrics


def test_a_variant_of_a_comparison_is_scored_as_a_classifier_is(tables):
    """By temperatures that calibrate fits, and the metrics that evaluate computes."""
    logits, baselines, _ = tables
    calibration = CalibrateParams()
    fitted = fit_temperatures(select_calibration(logits), calibration)
    metrics = measure(logits, baselines, apply_temperatures(logits, fitted), fitted)
    scores = score_logits(logits, calibration, PARAMETERS.n_bins)
    assert scores == {name: metrics[name]["value"] for name in ("accuracy", "nll", "ece")}


def test_only_test_rows_count(tables, metrics):
    logits, baselines, predictions = (table.copy() for table in tables)
    for table in (logits, baselines, predictions):
        table.loc[table["split"] != "test", "label"] = "car"
    logits.loc[logits["split"] != "test", "logit/car"] = 99.0
    predictions.loc[predictions["split"] != "test", "predicted"] = "ship"
    images, samples = FakeImages(predictions), predictions[["image_id", "split", "label"]]
    assert measure(logits, baselines, predictions) == metrics
    pd.testing.assert_frame_equal(
        find_confused_pairs(select_test(images, samples, logits, predictions), PARAMETERS),
        find_confused_pairs(rows_of_test(tables[2]), PARAMETERS),
    )
    pd.testing.assert_frame_equal(
        measure_class_recall(select_test(images, samples, logits, predictions)),
        measure_class_recall(rows_of_test(tables[2])),
    )


def test_confused_pairs_count_the_off_diagonal(tables):
    predictions = tables[2].query("split == 'test'")
    pairs = find_confused_pairs(rows_of_test(tables[2]), PARAMETERS)
    matrix = confusion_matrix(predictions["label"], predictions["predicted"], labels=CLASSES)
    counted = {(row["true"], row["predicted"]): row["count"] for _, row in pairs.iterrows()}
    assert counted == {
        (CLASSES[i], CLASSES[j]): matrix[i, j] for i, j in np.argwhere(matrix) if i != j
    }
    assert pairs["count"].is_monotonic_decreasing
    sizes = predictions["label"].value_counts()
    np.testing.assert_allclose(pairs["fraction"], pairs["count"] / sizes[pairs["true"]].to_numpy())


def test_examples_are_the_most_confident_mistakes():
    predictions = pd.DataFrame(
        {
            "image_id": ["a, 1", "b", "c", "d"],
            "split": "test",
            "label": ["cat", "cat", "cat", "car"],
            "predicted": ["car", "car", "car", "car"],
            "confidence": [0.6, 0.9, 0.9, 1.0],
        }
    )
    pairs = find_confused_pairs(predictions, EvaluateParams(n_examples=3))
    assert json.loads(pairs.loc[0, "examples"]) == ["b", "c", "a, 1"]
    assert pairs.loc[0, ["true", "predicted", "count", "fraction"]].tolist() == [
        "cat",
        "car",
        3,
        1.0,
    ]


def test_recall_has_the_wilson_interval_of_scipy(tables):
    predictions = tables[2].query("split == 'test'")
    recall = measure_class_recall(rows_of_test(tables[2])).set_index("class")
    for name in CLASSES:
        hits = (predictions["predicted"] == name)[predictions["label"] == name]
        interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
        expected = [len(hits), hits.mean(), interval.low, interval.high]
        assert recall.loc[name].tolist() == pytest.approx(expected)


def test_recall_and_macro_f1_of_a_rare_class_are_undefined(tables):
    logits, baselines, predictions = tables
    rare = (logits["split"] == "test") & (logits["label"] == "ship")
    keep = ~rare | (logits.index == rare.idxmax())
    recall = measure_class_recall(rows_of_test(predictions[keep])).set_index("class")
    assert recall.loc["ship", "n"] == 1
    assert recall.loc["ship", ["recall", "low", "high"]].isna().all()
    assert (
        measure_class_recall(rows_of_test(predictions[~rare])).set_index("class").loc["ship", "n"]
        == 0
    )
    kept = (table[keep].reset_index(drop=True) for table in (logits, baselines, predictions))
    metrics = measure(*kept)
    undefined = {name for name, entry in metrics.items() if entry["value"] is None}
    assert undefined == {"macro_f1", "ece_classwise"}


def test_an_empty_test_split_is_an_error(tables):
    rest = [table.query("split != 'test'") for table in tables]
    with pytest.raises(SplitError, match="test split is empty"):
        measure(*rest)


@pytest.mark.parametrize("stale", ["images", "samples"])
def test_predictions_of_other_images_or_samples_are_refused(tables, stale):
    logits, _, predictions = tables
    samples = predictions[["image_id", "split", "label"]]
    images = FakeImages(predictions[::-1] if stale == "images" else predictions)
    if stale == "samples":
        samples = samples.assign(split="test")
    with pytest.raises(ArtifactError, match=r"Run .*pipeline"):
        select_test(images, samples, logits, predictions)


def test_logits_of_other_images_are_refused(tables):
    logits, baselines, predictions = tables
    other = logits.assign(image_id=logits["image_id"] + "x")
    with pytest.raises(ArtifactError, match="Run the calibrate pipeline again"):
        measure(other, baselines, predictions)


class TestSeveralLabels:
    """A sigmoid output: two labels that an image may have both of, or none."""

    @pytest.fixture
    def several(self):
        rng = np.random.default_rng(0)
        n = 600
        truth = rng.integers(2, size=(n, 2))
        logits = pd.DataFrame(
            {
                "image_id": [f"image/{row}" for row in range(n)],
                "split": np.resize(["calibration", "test"], n),
                "label": "photograph",
                **{f"label/{name}": truth[:, k] for k, name in enumerate(LABELS)},
                **{
                    f"logit/{name}": rng.normal(size=n) + 3 * truth[:, k] - 1.5
                    for k, name in enumerate(LABELS)
                },
            }
        )
        predictions = logits[["image_id", "split", "label", *(f"label/{x}" for x in LABELS)]]
        return logits, predictions.assign(
            **{
                f"probability/{name}": expit(logits[f"logit/{name}"] / t)
                for name, t in LABELS.items()
            }
        )

    def outputs(self, several, localisation, further=()):
        logits, predictions = several
        samples = logits[["image_id", "split", "label"]]
        return run(
            create_pipeline("sigmoid"),
            {
                "logits": logits,
                "predictions": predictions,
                "temperatures": LABELS,
                "localisation": localisation,
                "shortcut_findings": list(further),
                "images": FakeImages(logits),
                "samples": samples,
                "params:evaluate": PARAMETERS,
                "params:seed": 0,
            },
        )

    @pytest.fixture
    def localisation(self):
        return pd.DataFrame(
            {
                "image_id": ["image/1", "image/3", "image/3"],
                "risk": ["red", "red", "big"],
                **{name: [0.2, 0.4, np.nan] for name in LOCALISATION},
            }
        )

    @pytest.fixture
    def made(self, several, localisation):
        return self.outputs(several, localisation)

    def test_each_label_is_measured_by_itself_and_on_average(self, several, made):
        metrics, test = made["metrics"], rows_of_test(several[1])
        for name, temperature in LABELS.items():
            truth, p = test[f"label/{name}"], test[f"probability/{name}"]
            expected = {
                "auroc": roc_auc_score(truth, p),
                "auprc": average_precision_score(truth, p),
                "accuracy": np.mean((p >= 0.5) == truth),
                "nll": log_loss(truth, p),
                "brier": 2 * brier_score_loss(truth, p),
                "temperature": temperature,
            }
            for metric, value in expected.items():
                assert metrics[f"{name}/{metric}"]["value"] == pytest.approx(value), metric
        for metric in ("auroc", "ece", "nll_uncalibrated"):
            own = [metrics[f"{name}/{metric}"]["value"] for name in LABELS]
            assert metrics[metric]["value"] == pytest.approx(np.mean(own))
        assert metrics["auroc"]["n"] == metrics["red/ece_consistency_95"]["n"] == 300
        assert "temperature" not in metrics

    def test_maps_are_averaged_over_images_with_a_mask(self, made):
        values = {name: made["metrics"][name]["value"] for name in ("iou", "red/iou", "big/iou")}
        assert values == {"iou": pytest.approx(0.3), "red/iou": pytest.approx(0.3), "big/iou": None}

    def test_confident_mistakes_join_the_findings_of_others(self, several, localisation):
        logits, predictions = several
        wrong = predictions.assign(**{"probability/red": 1 - predictions["label/red"] * 1.0})
        further = {
            "check": "planted_mark",
            "severity": "high",
            "summary": "A mark decides.",
            "evidence": {"drop": 0.3},
            "rows": [],
            "advice": "Remove it.",
        }
        findings = self.outputs((logits, wrong), localisation, [further])["findings"]
        assert [(each["check"], each["severity"]) for each in findings] == [
            ("planted_mark", "high"),
            ("confident_mistakes", "high"),
        ]
        assert findings[1]["summary"].startswith("The score of 'red' is wrong in 300 of the 300")


@pytest.mark.parametrize(
    ("accuracy", "minimum", "passes"),
    [
        (0.7, 0.65, True),
        (0.65, 0.65, True),
        (0.64, 0.65, False),
        (0.0, 0.0, True),
        (None, 0.1, False),
    ],
)
def test_the_gate_fails_below_the_minimum(accuracy, minimum, passes):
    metrics = {"accuracy": {"value": accuracy, "low": None, "high": None, "n": 1}}
    parameters = EvaluateParams(minimum_accuracy=minimum)
    if passes:
        check_gate(metrics, parameters)
    else:
        with pytest.raises(GateError, match="minimum_accuracy"):
            check_gate(metrics, parameters)


def test_the_gate_says_what_was_reached(caplog):
    caplog.set_level(logging.INFO)
    metrics = {"accuracy": {"value": 0.97167, "low": 0.9621, "high": 0.9811, "n": 1200}}
    check_gate(metrics, EvaluateParams())
    assert caplog.messages == ["Test accuracy 0.972 (0.962–0.981, n = 1200)"]


def test_the_gate_acts_after_all_that_it_waits_for():
    saved = []
    late = Pipeline(
        [Node(lambda metrics: saved.append(1) or "done", "metrics", "last", name="late")]
    )
    inputs = {
        "metrics": {"accuracy": {"value": 0.1, "low": None, "high": None, "n": 9}},
        "params:evaluate": EvaluateParams(minimum_accuracy=0.65),
    }
    with pytest.raises(GateError, match=r"accuracy is 0\.100, below .* = 0\.65"):
        run(gate_pipeline(["last"]) + late, inputs)
    assert saved == [1]


def test_the_corridor_itself_has_no_gate():
    assert "check_gate" not in {node.name for node in create_pipeline().nodes}


@pytest.mark.parametrize(
    "wrong", [{"minimum_accuracy": 1.5}, {"n_bins": 0}, {"n_resample": 10}, {"n_resamples": "many"}]
)
def test_a_mistyped_parameter_is_refused(wrong):
    with pytest.raises(ValidationError):
        EvaluateParams(**wrong)
