"""The statistics of a classifier's test table, by their names in metrics.json."""

from collections import defaultdict

import numpy as np
import pandas as pd
from jaxtyping import Float

from glasshead.calibration import metrics as measures
from glasshead.calibration.abstention import Abstention
from glasshead.calibration.bootstrap import AnyStatistic, averaged, mean_of, ratio_of
from glasshead.calibration.ranking import auroc, average_precision, mean_gap
from glasshead.calibration.table import IDENTITY, Head
from glasshead.calibration.temperature import FINAL, probabilities_at

Statistics = dict[str, AnyStatistic]


def softmax_statistics(
    heads: dict[str, Head], temperatures: dict[str, float], n_bins: int
) -> Statistics:
    """Return the statistics of the classes, and accuracy and ECE of each subtask."""
    final = heads[FINAL]
    labels, calibrated = final.labels, calibrated_of(final)
    raw = probabilities_at(final.logits, 1.0)
    statistics: Statistics = {
        "accuracy": measures.accuracy(calibrated, labels),
        "macro_f1": measures.macro_f1(calibrated, labels),
        "top2_accuracy": measures.top2_accuracy(calibrated, labels),
        "nll": measures.nll(final.logits / temperatures[FINAL], labels),
        "nll_uncalibrated": measures.nll(final.logits, labels),
        "brier": measures.brier(calibrated, labels),
        "ece": measures.ece(calibrated, labels, n_bins),
        "ece_uncalibrated": measures.ece(raw, labels, n_bins),
        "ece_debiased": measures.ece_debiased(calibrated, labels, n_bins),
        "ece_equal_mass": measures.ece_equal_mass(calibrated, labels, n_bins),
        "ece_classwise": measures.ece_classwise(calibrated, labels, n_bins),
    }
    for name, head in heads.items():
        if name != FINAL:
            probabilities = calibrated_of(head)
            statistics |= {
                f"subtask/{name}/accuracy": measures.accuracy(probabilities, head.labels),
                f"subtask/{name}/ece": measures.ece(probabilities, head.labels, n_bins),
            }
    return statistics


def sigmoid_statistics(
    heads: dict[str, Head], temperatures: dict[str, float], n_bins: int
) -> Statistics:
    """Return the statistics of each class as `<class>/<metric>`, and their means over classes as `<metric>`.

    If there is only one class, only the means are returned. `gap` is in units of the raw logit.
    """
    by_class = {
        name: _yes_or_no_statistics(head, temperatures[name], n_bins)
        for name, head in heads.items()
    }
    names = next(iter(by_class.values()))
    means = {name: averaged([own[name] for own in by_class.values()]) for name in names}
    if len(by_class) == 1:
        return means
    return means | {
        f"{label}/{name}": statistic
        for label, own in by_class.items()
        for name, statistic in own.items()
    }


def abstention_statistics(test: pd.DataFrame, abstention: Abstention) -> Statistics:
    """Return coverage, the fraction of test images answered, and selective risk, the fraction of answers that is wrong.

    Both are in [0, 1]; selective risk is undefined if no image is answered. Geifman & El-Yaniv 2017, arXiv:1705.08500.
    """
    threshold = abstention["threshold"]
    answered = (test["confidence"] > (1 if threshold is None else threshold)).to_numpy(float)
    wrong = (test["label"] != test["predicted"]).to_numpy(float)
    return {"coverage": mean_of(answered), "selective_risk": ratio_of(answered * wrong, answered)}


def baseline_statistics(test: pd.DataFrame, baselines: pd.DataFrame) -> Statistics:
    """Return the accuracy of each baseline; columns `<name>/<seed>` are averaged over their seeds.

    The interval of such an average covers the variation over test rows, not over seeds.
    """
    predicted = baselines.set_index("image_id")
    hits = defaultdict(list)
    for column in baselines.columns.drop(IDENTITY, errors="ignore"):
        name = column.split("/", 1)[0]
        right = predicted.loc[test["image_id"], column].to_numpy() == test["label"].to_numpy()
        hits[name].append(right)
    return {f"accuracy_{name}": mean_of(np.mean(seeds, axis=0)) for name, seeds in hits.items()}


def calibrated_of(head: Head) -> Float[np.ndarray, "n k"]:
    """Return the calibrated probabilities; ValueError if the head's table was not calibrated."""
    if head.calibrated is None:
        raise ValueError("This table holds only logits. Call apply_temperatures on it first.")
    return head.calibrated


def _yes_or_no_statistics(head: Head, temperature: float, n_bins: int) -> Statistics:
    scores, labels = head.logits[:, 1], head.labels
    positives, calibrated = labels == 1, calibrated_of(head)
    return {
        "auroc": auroc(scores, positives),
        "auprc": average_precision(scores, positives),
        "gap": mean_gap(scores, positives),
        "accuracy": measures.accuracy(calibrated, labels),
        "ece": measures.ece(calibrated, labels, n_bins),
        "ece_uncalibrated": measures.ece(probabilities_at(head.logits, 1.0), labels, n_bins),
        "brier": measures.brier(calibrated, labels),
        "nll": measures.nll(head.logits / temperature, labels),
        "nll_uncalibrated": measures.nll(head.logits, labels),
    }
