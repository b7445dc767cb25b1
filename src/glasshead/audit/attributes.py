"""Findings on attributes that should not matter, but that go with a risk in the scores or in the data."""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from glasshead.audit.findings import Finding, percent
from glasshead.calibration.bootstrap import bootstrap_intervals
from glasshead.calibration.ranking import auroc
from glasshead.seeds import generator

EXPLAINED = 0.1  # least fraction of the scores' variance within a label, for a finding
MUCH = 0.3  # fraction of that variance, for a finding of high severity
UNLIKELY = 0.01  # largest p-value of the permutation test, for a finding
PREDICTS = 0.6  # AUROC that the attribute alone must exceed, for a finding
SHUFFLES = 500
SHOWN = 20


def score_finding(
    risk: str,
    attribute: str,
    scores: Float[np.ndarray, " n"],
    has_risk: Bool[np.ndarray, " n"],
    values: np.ndarray,
    image_ids: np.ndarray,
    seed: int,
) -> Finding | None:
    """Return a finding if an attribute explains the scores of images with the same label.

    `scores` are logits; the mean logit of images with the same label is subtracted first. The fraction of variance that
    the attribute explains is corrected for the number of its values (Kelley 1935). A permutation test compares this
    fraction with those after shuffling the rows within each label.
    """
    rest = scores - np.where(has_risk, *(_mean(scores[group]) for group in (has_risk, ~has_risk)))
    codes, names = pd.factorize(pd.Series(values), sort=True)
    fraction = explained_fraction(rest, codes)
    draw = generator(seed, "risk", "attribute", attribute)
    shuffled = np.array(
        [explained_fraction(_shuffled(rest, has_risk, draw), codes) for _ in range(SHUFFLES)]
    )
    chance = (1 + (shuffled >= fraction).sum()) / (1 + SHUFFLES)
    if fraction < EXPLAINED or chance > UNLIKELY:
        return None
    means = {str(name): _mean(rest[codes == code]) for code, name in enumerate(names)}
    highest = max(means, key=lambda name: means[name])
    suspicious = np.flatnonzero((values.astype(str) == highest) & ~has_risk)
    order = suspicious[np.argsort(-scores[suspicious], kind="stable")][:SHOWN]
    return Finding(
        check="risk_by_attribute",
        severity="high" if fraction >= MUCH else "medium",
        summary=(
            f"Among images that are alike in {risk!r}, {attribute} explains {fraction:.0%} of the variance of the "
            f"score, which is highest for {highest}."
        ),
        evidence={"explained": fraction, "p": chance, "mean_logit_beyond_label": means},
        rows=[str(image_ids[row]) for row in order],
        advice=f"Balance {attribute} between images with the risk and without it, or add images where they disagree.",
    )


def data_finding(
    risk: str,
    attribute: str,
    train: tuple[np.ndarray, Bool[np.ndarray, " m"]],
    test: tuple[np.ndarray, Bool[np.ndarray, " n"]],
    scores: Float[np.ndarray, " n"],
    n_resamples: int,
    seed: int,
) -> Finding | None:
    """Return a finding if an attribute alone predicts a risk.

    The prediction for a test row is the rate of the risk among train rows with the same attribute value. `train` and
    `test` are pairs: the attribute's values, and which rows have the risk.
    """
    overall = float(train[1].mean())
    rates = pd.Series(train[1].astype(float)).groupby(train[0].astype(str)).mean()
    predicted = pd.Series(test[0].astype(str)).map(rates).fillna(overall).to_numpy(float)
    estimate = bootstrap_intervals({"auroc": auroc(predicted, test[1])}, n_resamples, seed)["auroc"]
    if estimate.low is None or estimate.low <= PREDICTS:
        return None
    codes, _ = pd.factorize(pd.Series(test[0]))
    explained = explained_fraction(scores, codes)
    return Finding(
        check="data_bias",
        severity="high" if estimate.low > 0.75 else "medium",
        summary=(
            f"{attribute} alone predicts {risk!r} with an AUROC of {percent(estimate)}. It explains "
            f"{max(explained, 0):.0%} of the variance of the score. From these data a model cannot tell the two apart."
        ),
        evidence={
            "auroc": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "explained": explained,
            "train_fraction_with_risk": {str(name): float(rate) for name, rate in rates.items()},
        },
        rows=[],
        advice=f"Collect images in which {attribute} and the risk do not go together.",
    )


def explained_fraction(values: Float[np.ndarray, " n"], codes: Int[np.ndarray, " n"]) -> float:
    """Return ε², the fraction of variance between groups: at most 1, and 0 on average for groups that do not differ.

    ε² = 1 - (within / (n - k)) / (total / (n - 1)), from sums of squares over n rows in k groups. It is 0 for a single
    group, for constant values, and if each group has one row.
    """
    counts = np.bincount(codes[codes >= 0])
    kept = codes >= 0
    values, codes = values[kept], codes[kept]
    groups, n = int((counts > 0).sum()), len(values)
    total = float(((values - _mean(values)) ** 2).sum())
    if groups < 2 or n <= groups or total == 0:
        return 0.0
    means = np.bincount(codes, values) / np.maximum(counts, 1)
    within = float(((values - means[codes]) ** 2).sum())
    return 1 - (within / (n - groups)) / (total / (n - 1))


def _shuffled(
    values: np.ndarray, labels: Bool[np.ndarray, " n"], draw: np.random.Generator
) -> np.ndarray:
    other = values.copy()
    for group in (labels, ~labels):
        other[group] = draw.permutation(values[group])
    return other


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0
