"""Nodes of `evaluate`. All of them read test rows alone."""

import json
import logging
from collections import defaultdict
from dataclasses import asdict

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.special import ndtri

from glasshead.calibration import metrics as measures
from glasshead.calibration.abstention import Abstention
from glasshead.calibration.bootstrap import Estimate, Statistic, bootstrap_intervals, mean_of
from glasshead.calibration.heads import HeadLogits, class_columns, read_heads
from glasshead.calibration.params import EvaluateParams
from glasshead.calibration.tables import test_rows
from glasshead.calibration.temperature import FINAL, probabilities_at
from glasshead.errors import ArtifactError, GateError
from glasshead.images.table import ImageTable, check_predictions
from glasshead.reporting import evaluation_figures as figures

logger = logging.getLogger(__name__)

Metrics = dict[str, dict[str, float | None]]
IDENTITY = {"image_id", "split", "label"}


def select_test(
    images: ImageTable, samples: pd.DataFrame, predictions: pd.DataFrame
) -> pd.DataFrame:
    """Return the predictions of the test rows.

    Raises:
        ArtifactError: they are of other samples or images than those there are now.
        SplitError: there are none.
    """
    check_predictions(images, samples, predictions)
    return test_rows(predictions)


def compute_metrics(
    logits: pd.DataFrame,
    test_predictions: pd.DataFrame,
    controls: pd.DataFrame,
    temperatures: dict[str, float],
    abstention: Abstention,
    parameters: EvaluateParams,
    seed: int,
) -> Metrics:
    """Return `{metric: {value, low, high, n}}` on the test rows, all intervals from the same resamples.

    `n` of `temperature` counts the calibration rows it was fitted on. It and `ece_consistency_95`
    have no interval: resampling test rows says nothing about them.

    Raises ArtifactError if `test_predictions` are not these logits at these temperatures.
    """
    test = test_rows(logits)
    heads = read_heads(test)
    _check_one_training(test, heads, test_predictions, temperatures)
    statistics = (
        _classifier_statistics(heads[FINAL], temperatures[FINAL], parameters.n_bins)
        | _abstention_statistics(test_predictions, abstention)
        | _control_statistics(test, controls)
        | _subtask_statistics(heads, temperatures, parameters.n_bins)
    )
    estimates = bootstrap_intervals(statistics, parameters.n_resamples, seed)
    consistency = measures.ece_consistency(
        probabilities_at(heads[FINAL].logits, temperatures[FINAL]),
        parameters.n_bins,
        parameters.n_resamples,
        seed,
    )
    n_fitted = int((logits["split"] == "calibration").sum())
    estimates["ece_consistency_95"] = Estimate(consistency, None, None, len(test))
    estimates["temperature"] = Estimate(temperatures[FINAL], None, None, n_fitted)
    return {name: asdict(estimate) for name, estimate in estimates.items()}


def measure_class_recall(test: pd.DataFrame) -> pd.DataFrame:
    """Return class, n, recall and its 95 % Wilson interval, null below two test rows."""
    hits = (test["label"] == test["predicted"]).groupby(test["label"])
    classes = pd.Index(class_columns(test, "probability/"), name="class")
    n = hits.size().reindex(classes, fill_value=0)
    recall = hits.mean().reindex(classes).where(n >= measures.MIN_CLASS_ROWS)
    low, high = _wilson_interval(recall, n)
    return pd.DataFrame({"n": n, "recall": recall, "low": low, "high": high}).reset_index()


def find_confused_pairs(test: pd.DataFrame, parameters: EvaluateParams) -> pd.DataFrame:
    """Return one row per pair of classes that was confused, most frequent first.

    Columns: true, predicted, count, share (of the true class's test rows), examples (JSON list of
    the image_ids of the most confident mistakes).
    """
    mistakes = test[test["label"] != test["predicted"]].sort_values(
        ["confidence", "image_id"], ascending=[False, True]
    )
    sizes = test["label"].value_counts().to_dict()
    rows = [
        {
            "true": true,
            "predicted": predicted,
            "count": len(group),
            "share": len(group) / sizes[true],
            "examples": json.dumps(group["image_id"].head(parameters.n_examples).tolist()),
        }
        for (true, predicted), group in mistakes.groupby(["label", "predicted"], sort=True)
    ]
    pairs = pd.DataFrame(rows, columns=["true", "predicted", "count", "share", "examples"])
    return pairs.sort_values("count", ascending=False, kind="stable", ignore_index=True)


def draw_confusion_matrix(test: pd.DataFrame) -> Figure:
    """Return the counts of true against predicted class, shaded by share of the true class."""
    classes = class_columns(test, "probability/")
    counts = pd.crosstab(test["label"], test["predicted"]).reindex(
        index=classes, columns=classes, fill_value=0
    )
    return figures.confusion_matrix_figure(counts.to_numpy(int), classes)


def draw_class_recall(class_recall: pd.DataFrame) -> Figure:
    """Return the recall of each class with its interval."""
    return figures.class_recall_figure(class_recall)


def draw_reliability(
    logits: pd.DataFrame, temperatures: dict[str, float], parameters: EvaluateParams
) -> Figure:
    """Return the reliability of the classifier and each head, before and after its temperature."""

    def curve(head: HeadLogits, temperature: float) -> measures.ReliabilityCurve:
        probabilities = probabilities_at(head.logits, temperature)
        return measures.reliability_curve(probabilities, head.labels, parameters.n_bins)

    panels = {
        "classifier" if name == FINAL else name: (curve(head, 1.0), curve(head, temperatures[name]))
        for name, head in read_heads(test_rows(logits)).items()
    }
    return figures.reliability_figure(panels)


def measure_reliability(
    logits: pd.DataFrame, temperatures: dict[str, float], parameters: EvaluateParams
) -> pd.DataFrame:
    """Return where calibrated confidence and accuracy part, a row for each bin of `ece` that has test rows.

    Columns: from and to, the bin's edges; n; mean confidence; accuracy, and its 95 % Wilson interval, low and high.
    """
    test, n_bins = test_rows(logits), parameters.n_bins
    head = read_heads(test)[FINAL]
    calibrated = probabilities_at(head.logits, temperatures[FINAL])
    curve = measures.reliability_curve(calibrated, head.labels, n_bins)
    accuracy, n = pd.Series(curve.accuracy), pd.Series(curve.share * len(test)).round().astype(int)
    edges = measures.equal_width_edges(n_bins)
    place = np.clip((curve.confidence * n_bins).astype(int), 0, n_bins - 1)
    low, high = _wilson_interval(accuracy, n)
    return pd.DataFrame(
        {
            "from": edges[place],
            "to": edges[place + 1],
            "n": n,
            "confidence": curve.confidence,
            "accuracy": accuracy,
            "low": low,
            "high": high,
        }
    )


def draw_confused_pairs(
    confused_pairs: pd.DataFrame, images: figures.Images, parameters: EvaluateParams
) -> Figure:
    """Return the most confused pairs with example images."""
    return figures.confused_pairs_figure(confused_pairs.head(parameters.n_pairs), images)


def check_gate(metrics: Metrics, parameters: EvaluateParams, *saved: object) -> None:
    """Log the accuracy; raise GateError below the minimum. `saved` is only there to be saved first."""
    estimate, minimum = metrics["accuracy"], parameters.minimum_accuracy
    accuracy, low, high = (estimate[bound] for bound in ("value", "low", "high"))
    if accuracy is not None and low is not None and high is not None:
        logger.info("Test accuracy %.3f (%.3f–%.3f, n = %d)", accuracy, low, high, estimate["n"])
    if minimum and (accuracy is None or accuracy < minimum):
        reached = "is undefined" if accuracy is None else f"is {accuracy:.4f}"
        raise GateError(
            f"test accuracy {reached}, below evaluate.minimum_accuracy = {minimum:g}; all results "
            "were saved: look at confused_pairs, or switch the gate off with a minimum of 0"
        )


def _check_one_training(
    logits: pd.DataFrame,
    heads: dict[str, HeadLogits],
    predictions: pd.DataFrame,
    temperatures: dict[str, float],
) -> None:
    identity = ["image_id", "label"]
    if (
        set(heads) != set(temperatures)
        or not predictions[identity].equals(logits[identity])
        or not np.allclose(
            predictions["confidence"],
            probabilities_at(heads[FINAL].logits, temperatures[FINAL]).max(axis=1),
        )
    ):
        raise ArtifactError(
            "The predictions are of another training than the logits. Run the calibrate pipeline again."
        )


def _classifier_statistics(
    head: HeadLogits, temperature: float, n_bins: int
) -> dict[str, Statistic]:
    labels, raw = head.labels, probabilities_at(head.logits, 1.0)
    calibrated = probabilities_at(head.logits, temperature)
    return {
        "accuracy": measures.accuracy(calibrated, labels),
        "macro_f1": measures.macro_f1(calibrated, labels),
        "top2_accuracy": measures.top2_accuracy(calibrated, labels),
        "nll": measures.nll(head.logits / temperature, labels),
        "nll_uncalibrated": measures.nll(head.logits, labels),
        "brier": measures.brier(calibrated, labels),
        "ece": measures.ece(calibrated, labels, n_bins),
        "ece_uncalibrated": measures.ece(raw, labels, n_bins),
        "ece_debiased": measures.ece_debiased(calibrated, labels, n_bins),
        "ece_equal_mass": measures.ece_equal_mass(calibrated, labels, n_bins),
        "ece_classwise": measures.ece_classwise(calibrated, labels, n_bins),
    }


def _abstention_statistics(test: pd.DataFrame, abstention: Abstention) -> dict[str, Statistic]:
    threshold = abstention["threshold"]
    answered = (test["confidence"] > (1 if threshold is None else threshold)).to_numpy(bool)
    wrong = (test["label"] != test["predicted"]).to_numpy(bool)
    return {
        "coverage": mean_of(answered.astype(float)),
        "selective_risk": measures.selective_risk(answered, wrong),
    }


def _control_statistics(test: pd.DataFrame, controls: pd.DataFrame) -> dict[str, Statistic]:
    """Return the accuracy of each control; columns `<name>/<seed>` are averaged over their seeds.

    The interval is then that of these seeds' mean over other test rows, not over other seeds.
    """
    predicted = controls.set_index("image_id")
    hits = defaultdict(list)
    for column in controls.columns.drop(list(IDENTITY), errors="ignore"):
        name = column.split("/", 1)[0]
        right = predicted.loc[test["image_id"], column].to_numpy() == test["label"].to_numpy()
        hits[name].append(right)
    return {f"accuracy_{name}": mean_of(np.mean(seeds, axis=0)) for name, seeds in hits.items()}


def _subtask_statistics(
    heads: dict[str, HeadLogits], temperatures: dict[str, float], n_bins: int
) -> dict[str, Statistic]:
    statistics = {}
    for name, head in heads.items():
        if name != FINAL:
            calibrated = probabilities_at(head.logits, temperatures[name])
            statistics[f"subtask/{name}/accuracy"] = measures.accuracy(calibrated, head.labels)
            statistics[f"subtask/{name}/ece"] = measures.ece(calibrated, head.labels, n_bins)
    return statistics


def _wilson_interval(rate: pd.Series, n: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Return the 95 % score interval of a share: Wilson 1927, doi:10.2307/2276774."""
    z2 = ndtri(0.975) ** 2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (rate * (1 - rate) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return centre - half, centre + half
