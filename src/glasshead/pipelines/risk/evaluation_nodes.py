"""Nodes of `risk` that measure the calibrated auditor. All of them but the list for review read test rows alone."""

import logging
from dataclasses import asdict

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.special import expit, logit

from glasshead.calibration import metrics as measures
from glasshead.calibration.bootstrap import (
    AnyStatistic,
    Estimate,
    averaged,
    bootstrap_intervals,
    mean_of_defined,
)
from glasshead.calibration.heads import class_columns
from glasshead.calibration.ranking import auroc, average_precision, mean_gap
from glasshead.errors import SplitError
from glasshead.explainers.risk_maps import COLUMNS, RIVALS, hold_against_masks, load_located
from glasshead.images.risks import TARGET
from glasshead.images.table import ImageTable
from glasshead.models.risk import RiskAuditor
from glasshead.pipelines.risk.params import RiskParams
from glasshead.seeds import generator

logger = logging.getLogger(__name__)

Metrics = dict[str, dict[str, float | None]]


def locate_risk(
    auditor: RiskAuditor,
    reference: RiskAuditor,
    images: ImageTable,
    scores: pd.DataFrame,
    parameters: RiskParams,
    seed: int,
) -> pd.DataFrame:
    """Return how test images' maps agree with the masks of their objects: image_id, risk, and a column a measure.

    A row an image with a risk and a mask; for the measures see `hold_against_masks`.
    """
    tables = [pd.DataFrame(columns=["image_id", "risk", *COLUMNS])]
    for place, risk in enumerate(auditor.classes):
        rows = positives(_test_rows(scores), risk, parameters, seed)
        located = load_located(images, rows, auditor.prepare, auditor.input_size)
        if len(located):
            found = hold_against_masks(auditor, reference, located, place)
            tables.append(pd.DataFrame({"image_id": located.image_ids, "risk": risk, **found}))
        else:
            logger.warning(
                "No masks of test images with %r: their maps are held against nothing", risk
            )
    table = pd.concat(tables[1:] or tables, ignore_index=True)
    return table.astype(dict.fromkeys(COLUMNS, float))


def compute_metrics(
    scores: pd.DataFrame,
    localisation: pd.DataFrame,
    temperatures: dict[str, float],
    parameters: RiskParams,
    seed: int,
) -> Metrics:
    """Return `{metric: {value, low, high, n}}` on the test rows.

    Of several risks, each has its own as `<risk>/<metric>`; the plain names are means over the risks, those of
    localisation over all images with a risk; temperature and ece_consistency_95 (see `evaluate`) have no mean. `gap` is
    in units of the raw logit.
    """
    test = _test_rows(scores)
    risks = list(temperatures)
    by_risk = {risk: _statistics(test, risk, parameters.n_bins) for risk in risks}
    statistics = {
        name: averaged([by_risk[risk][name] for risk in risks]) for name in by_risk[risks[0]]
    }
    located = {"": localisation}
    if len(risks) > 1:
        for risk in risks:
            statistics |= {f"{risk}/{name}": each for name, each in by_risk[risk].items()}
            located[f"{risk}/"] = localisation[localisation["risk"] == risk]
    estimates = bootstrap_intervals(statistics, parameters.n_resamples, seed)
    for prefix, table in located.items():
        values = {
            f"{prefix}{name}": mean_of_defined(table[name].to_numpy(float)) for name in COLUMNS
        }
        estimates |= bootstrap_intervals(values, parameters.n_resamples, seed)
    n_fitted = int((scores["split"] == "calibration").sum())
    for risk, temperature in temperatures.items():
        prefix = f"{risk}/" if len(risks) > 1 else ""
        consistency = measures.ece_consistency(
            _both(test[f"probability/{risk}"].to_numpy()),
            parameters.n_bins,
            parameters.n_resamples,
            seed,
        )
        estimates[f"{prefix}ece_consistency_95"] = Estimate(consistency, None, None, len(test))
        estimates[f"{prefix}temperature"] = Estimate(temperature, None, None, n_fitted)
    _log_metrics(estimates)
    return {name: asdict(estimate) for name, estimate in estimates.items()}


def list_for_review(scores: pd.DataFrame, parameters: RiskParams) -> pd.DataFrame:
    """Return the images to look at, of all splits: those whose label the score finds least likely come first.

    A row an image and risk: rank, image_id, split, label, risk, has_risk, probability, surprise (-log2 of the label's
    probability, in bits) and why.
    """
    tables = []
    for risk in class_columns(scores, TARGET):
        has_risk = scores[f"{TARGET}{risk}"].to_numpy() == 1
        probability = scores[f"probability/{risk}"].to_numpy()
        signed = np.where(has_risk, 1, -1) * _logits(probability)
        why = np.select(
            [has_risk & (probability < 0.5), ~has_risk & (probability >= 0.5)],
            ["labelled with the risk, scored without", "labelled without the risk, scored with"],
            "uncertain",
        )
        tables.append(
            scores[["image_id", "split", "label"]].assign(
                risk=risk,
                has_risk=has_risk,
                probability=probability,
                surprise=np.logaddexp(0, -signed) / np.log(2),
                why=why,
            )
        )
    table = pd.concat(tables).sort_values(
        ["surprise", "image_id"], ascending=[False, True], ignore_index=True
    )
    table = table.head(parameters.reviewed)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table


def positives(test: pd.DataFrame, risk: str, parameters: RiskParams, seed: int) -> pd.DataFrame:
    """Return test rows with a risk, at most `located` of them, drawn at random; in the table's order."""
    rows = test[test[f"{TARGET}{risk}"] == 1]
    if len(rows) <= parameters.located:
        return rows
    return rows.sample(
        parameters.located, random_state=generator(seed, "risk", "located", risk)
    ).sort_index()


def _statistics(test: pd.DataFrame, risk: str, n_bins: int) -> dict[str, AnyStatistic]:
    logits = test[f"logit/{risk}"].to_numpy()
    labels: Int[np.ndarray, " n"] = test[f"{TARGET}{risk}"].to_numpy(int)
    calibrated = _both(test[f"probability/{risk}"].to_numpy())
    two_logits = np.stack([np.zeros_like(logits), logits], axis=1)
    return {
        "auroc": auroc(logits, labels == 1),
        "auprc": average_precision(logits, labels == 1),
        "gap": mean_gap(logits, labels == 1),
        "accuracy": measures.accuracy(calibrated, labels),
        "ece": measures.ece(calibrated, labels, n_bins),
        "ece_uncalibrated": measures.ece(_both(expit(logits)), labels, n_bins),
        "brier": measures.brier(calibrated, labels),
        "nll": measures.nll(_logits(calibrated[:, 1])[:, None] * [0, 1], labels),
        "nll_uncalibrated": measures.nll(two_logits, labels),
    }


def _both(probability: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 2"]:
    """Return the probabilities of no risk and of the risk."""
    return np.stack([1 - probability, probability], axis=1)


def _logits(probability: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    odds: Float[np.ndarray, " n"] = logit(np.clip(probability, 1e-12, 1 - 1e-12))
    return odds


def _test_rows(scores: pd.DataFrame) -> pd.DataFrame:
    test = scores[scores["split"] == "test"].reset_index(drop=True)
    if test.empty:
        raise SplitError("the test split is empty, so there is nothing to evaluate")
    return test


def _log_metrics(estimates: dict[str, Estimate]) -> None:
    def shown(name: str) -> str:
        each = estimates[name]
        if each.value is None:
            return f"{name} undefined"
        interval = "" if each.low is None else f" ({each.low:.3f}–{each.high:.3f})"
        return f"{name} {each.value:.3f}{interval}"

    names = ["auroc", "ece", *(f"{m}{r}" for m in ("pointing_game", "iou") for r in ("", *RIVALS))]
    logger.info("Test images: %s", ", ".join(map(shown, names)))
