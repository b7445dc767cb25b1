"""Nodes of the report on a risk auditor. They judge and show what `risk` measured."""

import math
from typing import Any

import numpy as np
import pandas as pd

from glasshead.audit.findings import Finding
from glasshead.calibration.heads import class_columns
from glasshead.calibration.metrics import brier
from glasshead.errors import ArtifactError
from glasshead.images.fitting import table_rows
from glasshead.images.risks import TARGET
from glasshead.images.table import ImageTable
from glasshead.pipelines.report.nodes import RISK, Described, Record
from glasshead.pipelines.report.params import ReportParams
from glasshead.reporting.findings import shown_ids, sorted_findings, with_images
from glasshead.reporting.judged import digests_of
from glasshead.reporting.risk_card import risk_card
from glasshead.reporting.risk_report import RiskSubject, risk_page
from glasshead.reporting.risk_verdicts import metrics_of, risk_failures, risk_verdicts
from glasshead.reporting.run_record import reproduction
from glasshead.reporting.verdicts import Metrics
from glasshead.reporting.wording import number, records


class DescribedAuditor(Described):
    """What a report asks of a risk auditor."""

    classes: tuple[str, ...]
    concept_temperatures: dict[str, float]


def judge_auditor(
    auditor: DescribedAuditor,
    ingest_counts: dict[str, Any],
    embed_summary: dict[str, Any],
    scores: pd.DataFrame,
    metrics: Metrics,
    findings: list[Finding],
    parameters: ReportParams,
    **figures: bytes,
) -> dict[str, Any]:
    """Return name, the auditor's description, its data, and what is concluded: verdicts and failures.

    `balance` counts the images of each split, and those with each risk; `judged` has the digests of metrics, findings
    and `figures`.

    Raises ArtifactError where scores or metrics are of another training than the auditor.
    """
    risks = auditor.classes
    _check_one_training(auditor, scores, metrics)
    return {
        "name": RISK,
        "classifier": auditor.describe() | {"weights_sha256": auditor.weights_digest()},
        "data": ingest_counts,
        "features": f"{embed_summary['features/from']}: {embed_summary['features/why']}",
        "balance": _balance(scores),
        "verdicts": risk_verdicts(risks, metrics, findings, parameters.right_from),
        "failures": risk_failures(scores),
        "judged": digests_of(metrics, findings, _by_name(figures)),
    }


def write_risk_report(
    run_record: Record,
    summary: dict[str, Any],
    metrics: Metrics,
    findings: list[Finding],
    images: ImageTable,
    scores: pd.DataFrame,
    to_review: pd.DataFrame,
    parameters: ReportParams,
    **figures: bytes,
) -> str:
    """Return the page on the auditor, with its `figures` as PNG.

    Raises ArtifactError where an image that shows a finding is damaged, or another one than was scored.
    """
    listed = sorted_findings({RISK: findings})
    asked = scores[scores["image_id"].isin(shown_ids(listed))]
    table_rows(images, asked)  # or other images would be shown under these names
    subject = RiskSubject(
        summary=summary,
        metrics=metrics,
        figures=_by_name(figures),
        findings=with_images(listed, images, _answers(asked)),
        to_review=to_review,
        reproduction=reproduction(RISK, run_record),
    )
    return risk_page(subject, parameters.most)


def write_risk_card(
    run_record: Record,
    summary: dict[str, Any],
    metrics: Metrics,
    findings: list[Finding],
    parameters: ReportParams,
) -> str:
    """Return the model card, in Markdown with Hugging Face metadata."""
    return risk_card(
        summary,
        metrics,
        sorted_findings({RISK: findings}),
        reproduction(RISK, run_record),
        parameters.licence,
        parameters.intended_use,
    )


def _check_one_training(auditor: DescribedAuditor, scores: pd.DataFrame, metrics: Metrics) -> None:
    weights = scores.get("weights_sha256", ())  # scores older than it have none
    if set(weights) != {auditor.weights_digest()}:
        raise ArtifactError(
            "The scores are of another training than the risk auditor. Run the risk pipeline again."
        )
    for risk in auditor.classes:
        measured = metrics_of(risk, auditor.classes, metrics)
        is_measured = measured["temperature"]["value"] == auditor.concept_temperatures[
            risk
        ] and math.isclose(measured["brier"]["value"], _brier(scores, risk), rel_tol=1e-9)
        if not is_measured:
            raise ArtifactError(
                "The metrics are of another training than the risk auditor. Run the risk pipeline again."
            )


def _brier(scores: pd.DataFrame, risk: str) -> float:
    """Return the Brier score on test rows, which tells trainings apart where their temperatures are the same."""
    test = scores[scores["split"] == "test"]
    probability = test[f"probability/{risk}"].to_numpy()
    labels = test[f"{TARGET}{risk}"].to_numpy(int)
    return brier(np.stack([1 - probability, probability], axis=1), labels).value or 0.0


def _answers(scores: pd.DataFrame) -> dict[str, str]:
    """Return "P(truck) = 0.981", of each risk, by image."""
    risks = class_columns(scores, "probability/")
    return {
        row["image_id"]: ", ".join(
            f"P({risk}) = {number(row[f'probability/{risk}'])}" for risk in risks
        )
        for row in records(scores)
    }


def _by_name(figures: dict[str, bytes]) -> dict[str, bytes]:
    return {name.removesuffix("_figure"): png for name, png in figures.items()}


def _balance(scores: pd.DataFrame) -> dict[str, dict[str, Any]]:
    risks = class_columns(scores, TARGET)
    return {
        str(split): {
            "images": len(rows),
            "with": {risk: int(rows[TARGET + risk].sum()) for risk in risks},
        }
        for split, rows in scores.groupby("split")
    }
