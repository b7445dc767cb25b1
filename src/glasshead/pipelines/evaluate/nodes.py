"""Nodes of `evaluate`, which read only test rows."""

import json
import logging
from dataclasses import asdict

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.special import ndtri

from glasshead.calibration import metrics as measures
from glasshead.calibration.abstention import Abstention
from glasshead.calibration.bootstrap import Estimate, bootstrap_intervals, mean_of_defined
from glasshead.calibration.params import EvaluateParams
from glasshead.calibration.statistics import (
    abstention_statistics,
    baseline_statistics,
    calibrated_of,
    sigmoid_statistics,
    softmax_statistics,
)
from glasshead.calibration.table import LABEL, Head, class_columns, read_heads, table_of_test
from glasshead.calibration.temperature import FINAL, probabilities_at
from glasshead.errors import GateError
from glasshead.images.table import ImageTable, check_predictions
from glasshead.reporting import evaluation_figures as figures
from glasshead.reporting.risk_figures import risk_curves_figure

logger = logging.getLogger(__name__)

Metrics = dict[str, dict[str, float | None]]


def select_test(
    images: ImageTable, samples: pd.DataFrame, logits: pd.DataFrame, predictions: pd.DataFrame
) -> pd.DataFrame:
    """Return the test rows with logits, labels, targets and calibrated probabilities.

    Raises:
        ArtifactError: the predictions were made from other logits, samples or images than the given ones.
        SplitError: there are no test rows.
    """
    check_predictions(images, samples, predictions)
    return table_of_test(logits, predictions)


def compute_metrics(
    test: pd.DataFrame,
    samples: pd.DataFrame,
    temperatures: dict[str, float],
    parameters: EvaluateParams,
    seed: int,
    abstention: Abstention | None = None,
    baselines: pd.DataFrame | None = None,
    localisation: pd.DataFrame | None = None,
) -> Metrics:
    """Return `{metric: {value, low, high, n}}` on the test rows; all intervals use the same bootstrap resamples.

    `localisation` holds how well maps agree with masks: image_id, risk (the class) and a column for each measure. The
    means of its columns are added to the metrics; if there are several classes, also the means of each class, as
    `<class>/<metric>`. `temperature` and `ece_consistency_95` have no interval, as resampling test rows says nothing
    about them. The `n` of `temperature` counts calibration rows.
    """
    heads = read_heads(test)
    measure = softmax_statistics if FINAL in heads else sigmoid_statistics
    statistics = measure(heads, temperatures, parameters.n_bins)
    if abstention is not None:
        statistics |= abstention_statistics(test, abstention)
    if baselines is not None:
        statistics |= baseline_statistics(test, baselines)
    estimates = bootstrap_intervals(statistics, parameters.n_resamples, seed)
    if localisation is not None:
        estimates |= _localisation_estimates(localisation, [*heads], parameters, seed)
    n_fitted = int((samples["split"] == "calibration").sum())
    for prefix, name in _prefixes(heads).items():
        consistency = measures.ece_consistency(
            calibrated_of(heads[name]), parameters.n_bins, parameters.n_resamples, seed
        )
        estimates |= {
            f"{prefix}ece_consistency_95": Estimate(consistency, None, None, len(test)),
            f"{prefix}temperature": Estimate(temperatures[name], None, None, n_fitted),
        }
    _log_metrics(estimates)
    return {name: asdict(estimate) for name, estimate in estimates.items()}


def measure_class_recall(test: pd.DataFrame) -> pd.DataFrame:
    """Return class, n, recall and its 95 % Wilson interval, null for fewer than two test rows."""
    hits = (test["label"] == test["predicted"]).groupby(test["label"])
    classes = pd.Index(class_columns(test, "probability/"), name="class")
    n = hits.size().reindex(classes, fill_value=0)
    recall = hits.mean().reindex(classes).where(n >= measures.MIN_CLASS_ROWS)
    low, high = _wilson_interval(recall, n)
    return pd.DataFrame({"n": n, "recall": recall, "low": low, "high": high}).reset_index()


def find_confused_pairs(test: pd.DataFrame, parameters: EvaluateParams) -> pd.DataFrame:
    """Return a row for each pair of confused classes, the most frequent first.

    Columns: true; predicted; count; fraction, of the true class's test rows; examples, a JSON list of the image_ids of
    the most confident mistakes.
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
            "fraction": len(group) / sizes[true],
            "examples": json.dumps(group["image_id"].head(parameters.n_examples).tolist()),
        }
        for (true, predicted), group in mistakes.groupby(["label", "predicted"], sort=True)
    ]
    pairs = pd.DataFrame(rows, columns=["true", "predicted", "count", "fraction", "examples"])
    return pairs.sort_values("count", ascending=False, kind="stable", ignore_index=True)


def plot_confusion_matrix(test: pd.DataFrame) -> Figure:
    """Return a figure of the confusion matrix: counts, shaded by the fraction of the true class."""
    classes = class_columns(test, "probability/")
    counts = pd.crosstab(test["label"], test["predicted"]).reindex(
        index=classes, columns=classes, fill_value=0
    )
    return figures.confusion_matrix_figure(counts.to_numpy(int), classes)


def plot_reliability(test: pd.DataFrame, parameters: EvaluateParams) -> Figure:
    """Return a figure of the reliability of the classifier and of each head, before and after temperature scaling."""

    def curve(head: Head, probabilities: np.ndarray) -> measures.ReliabilityCurve:
        return measures.reliability_curve(probabilities, head.labels, parameters.n_bins)

    panels = {
        "classifier" if name == FINAL else name: (
            curve(head, probabilities_at(head.logits, 1.0)),
            curve(head, calibrated_of(head)),
        )
        for name, head in read_heads(test).items()
    }
    return figures.reliability_figure(panels)


def measure_reliability(test: pd.DataFrame, parameters: EvaluateParams) -> pd.DataFrame:
    """Return calibrated confidence and accuracy in each confidence bin (as of `ece`) that has test rows.

    Columns: from and to, the bin's edges; n; mean confidence; accuracy; low and high, its 95 % Wilson interval.
    """
    n_bins, head = parameters.n_bins, read_heads(test)[FINAL]
    curve = measures.reliability_curve(calibrated_of(head), head.labels, n_bins)
    accuracy = pd.Series(curve.accuracy)
    n = pd.Series(curve.fraction * len(test)).round().astype(int)
    edges = measures.equal_width_edges(n_bins)
    bins = np.clip((curve.confidence * n_bins).astype(int), 0, n_bins - 1)
    low, high = _wilson_interval(accuracy, n)
    return pd.DataFrame(
        {
            "from": edges[bins],
            "to": edges[bins + 1],
            "n": n,
            "confidence": curve.confidence,
            "accuracy": accuracy,
            "low": low,
            "high": high,
        }
    )


def plot_curves(test: pd.DataFrame) -> Figure:
    """Return a figure with ROC curve, precision-recall curve and logits of each class of a sigmoid output."""
    return risk_curves_figure(
        {
            name: (test[f"logit/{name}"].to_numpy(), test[LABEL + name].to_numpy() == 1)
            for name in class_columns(test, LABEL)
        }
    )


def plot_confused_pairs(
    confused_pairs: pd.DataFrame, images: ImageTable, parameters: EvaluateParams
) -> Figure:
    """Return a figure of the most confused pairs of classes with example images."""
    return figures.confused_pairs_figure(confused_pairs.head(parameters.n_pairs), images)


def check_gate(metrics: Metrics, parameters: EvaluateParams, *saved: object) -> None:
    """Log the accuracy; raise GateError below the minimum. `saved` only makes the node run after these datasets."""
    estimate, minimum = metrics["accuracy"], parameters.minimum_accuracy
    accuracy, low, high = (estimate[bound] for bound in ("value", "low", "high"))
    if accuracy is not None and low is not None and high is not None:
        logger.info("Test accuracy %.3f (%.3f–%.3f, n = %d)", accuracy, low, high, estimate["n"])
    if minimum and (accuracy is None or accuracy < minimum):
        reached = "is undefined" if accuracy is None else f"is {accuracy:.3f}"
        raise GateError(
            f"Test accuracy {reached}, below evaluate.minimum_accuracy = {minimum:g}. All results were saved. The "
            "figure confused_pairs shows the most confused classes. To accept this accuracy, lower "
            "evaluate.minimum_accuracy; 0 switches this check off."
        )


def _prefixes(heads: dict[str, Head]) -> dict[str, str]:
    """Return the heads whose calibration error is measured, by the prefix of their metrics."""
    if FINAL in heads:
        return {"": FINAL}
    return {f"{name}/" if len(heads) > 1 else "": name for name in heads}


def _localisation_estimates(
    localisation: pd.DataFrame, classes: list[str], parameters: EvaluateParams, seed: int
) -> dict[str, Estimate]:
    tables = {"": localisation}
    if len(classes) > 1:
        tables |= {f"{name}/": localisation[localisation["risk"] == name] for name in classes}
    estimates: dict[str, Estimate] = {}
    for prefix, table in tables.items():
        values = table.drop(columns=["image_id", "risk"])
        means = {
            f"{prefix}{name}": mean_of_defined(values[name].to_numpy(float)) for name in values
        }
        estimates |= bootstrap_intervals(means, parameters.n_resamples, seed)
    return estimates


def _log_metrics(estimates: dict[str, Estimate]) -> None:
    shown = {
        name: estimates[name]
        for name in ("accuracy", "ece", "auroc", "pointing_game", "iou")
        if name in estimates
    }
    logger.info(
        "Test images: %s",
        ", ".join(
            f"{name} undefined" if estimate.value is None else f"{name} {estimate.value:.3f}"
            for name, estimate in shown.items()
        ),
    )


def _wilson_interval(rate: pd.Series, n: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Return the 95 % score interval of a fraction: Wilson 1927, doi:10.2307/2276774."""
    z2 = ndtri(0.975) ** 2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (rate * (1 - rate) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return centre - half, centre + half
