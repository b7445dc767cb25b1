"""Nodes of `report`, which judge and show the results of other pipelines."""

from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field

from glasshead.audit.findings import Finding
from glasshead.calibration.params import Fraction
from glasshead.calibration.table import LABEL, class_columns
from glasshead.datasets.results import Results
from glasshead.images.table import ImageTable, check_predictions
from glasshead.models.classifier import Classifier
from glasshead.reporting.card import model_card
from glasshead.reporting.findings import shown_ids, sorted_findings, with_images
from glasshead.reporting.notes import access_note
from glasshead.reporting.report import OtherResults, ReportContent, report_page
from glasshead.reporting.risk_verdicts import is_of_answers, sigmoid_verdicts
from glasshead.reporting.run_record import reproduction
from glasshead.reporting.verdicts import Explanations, Metrics, verdicts
from glasshead.reporting.wording import number, records

Record = dict[str, dict[str, Any]]
DEFAULT = "heads"  # the classifier whose pipelines have names without a prefix
AUDITOR = "risk"  # the classifier that audits a risk; also the folder of its results

Megabytes = Annotated[float, Field(ge=4, le=15)]


class ReportParams(BaseModel, extra="forbid", frozen=True):
    """The accuracy that counts as right, the largest page, entries of the model card, and classifiers to compare."""

    right_from: Fraction = 0.9
    megabytes: Megabytes = 15
    licence: str | None = None
    intended_use: str | None = None
    compare: tuple[str, ...] = Field(default=("heads", "cnn", "transfer", "ensemble"), min_length=1)

    @property
    def most(self) -> int:
        """The largest size of a page in bytes."""
        return int(self.megabytes * 1_000_000)


def judge_classifier(
    parameters: ReportParams,
    classifier: Classifier,
    images: ImageTable,
    samples: pd.DataFrame,
    ingest_counts: dict[str, Any],
    predictions: pd.DataFrame,
    metrics: Metrics,
    findings: list[Finding],
    explanations: Explanations | None = None,
) -> dict[str, Any]:
    """Return a summary: training, the classifier's description, data and splits, and the verdicts.

    For a sigmoid output, `labels` counts the images of each split that have each label.

    Raises ArtifactError unless predictions, samples and images cover the same rows.
    """
    check_predictions(images, samples, predictions)
    if classifier.output == "sigmoid":
        concluded = sigmoid_verdicts(classifier.classes, metrics, findings, parameters.right_from)
    else:
        concluded = verdicts(metrics, explanations or {}, parameters.right_from)
    labels = [LABEL + name for name in class_columns(predictions, LABEL)]
    counts = (
        predictions.groupby("split")[labels].sum().rename(columns=lambda name: name[len(LABEL) :])
    )
    return {
        "training": classifier.training_id(),
        "classifier": classifier.describe() | {"weights_sha256": classifier.weights_digest()},
        "data": ingest_counts,
        "splits": samples["split"].value_counts().sort_index().to_dict(),
        "labels": counts.to_dict("index") if labels else {},
        "verdicts": concluded,
    }


def write_report(
    parameters: ReportParams,
    own_results: Results,
    results: Results,
    run_record: Record,
    findings: list[Finding],
    images: ImageTable,
    predictions: pd.DataFrame,
    summary: dict[str, Any],
    metrics: Metrics,
    class_balance_figure: bytes,
    mean_images_figure: bytes,
    explanations: Explanations | None = None,
    explanation_plan: dict[str, Any] | None = None,
    class_recall: pd.DataFrame | None = None,
    confused_pairs: pd.DataFrame | None = None,
    reliability: pd.DataFrame | None = None,
    examples: pd.DataFrame | None = None,
    example_images: dict[str, np.ndarray] | None = None,
    to_review: pd.DataFrame | None = None,
    **figures: bytes,
) -> str:
    """Return the HTML page on the classifier, with its `figures` (PNG bytes) and the results of other pipelines.

    Raises ArtifactError if an image that a finding shows is damaged.
    """
    listed = _findings(findings, results, summary)
    worst_first = sorted_findings(listed)
    subject = ReportContent(
        summary=summary | {"name": own_results.name},
        metrics=metrics,
        explanations=explanations or {},
        plan=explanation_plan,
        class_recall=class_recall,
        confused_pairs=confused_pairs,
        reliability=reliability,
        examples=examples,
        pixels=None if example_images is None else example_images["pixels"],
        to_review=to_review,
        figures={name.removesuffix("_figure"): png for name, png in figures.items()},
        data_figures={"class_balance": class_balance_figure, "mean_images": mean_images_figure},
        findings=with_images(
            worst_first, images, _answers_in_words(predictions, shown_ids(worst_first))
        ),
        checks=[_checked(name, content, own_results) for name, content in listed.items()],
        robustness=_robustness(own_results, summary),
        risk=_risk(own_results, results, summary),
        reproduction=reproduction(own_results.name, run_record),
    )
    return report_page(subject, parameters.most)


def write_model_card(
    parameters: ReportParams,
    own_results: Results,
    results: Results,
    run_record: Record,
    findings: list[Finding],
    summary: dict[str, Any],
    metrics: Metrics,
) -> str:
    """Return the model card, in Markdown with Hugging Face metadata."""
    return model_card(
        summary | {"name": own_results.name},
        metrics,
        sorted_findings(_findings(findings, results, summary)),
        _robustness(own_results, summary),
        reproduction(own_results.name, run_record),
        parameters.licence or ("unknown" if access_note(summary["classifier"]) else "apache-2.0"),
        parameters.intended_use,
    )


def _findings(
    own: list[Finding], results: Results, summary: dict[str, Any]
) -> dict[str, list[Any] | None]:
    """Return the findings by subject: those on the classifier, and those of the risk auditor on the same images."""
    listed: dict[str, list[Any] | None] = {"this classifier": own}
    if summary["classifier"]["output"] == "softmax":
        of_risk = results.load(f"{AUDITOR}/findings.json")
        if of_risk is not None:
            is_known = not isinstance(_audited_risk(summary, results), str)
            of_risk = (
                [finding for finding in of_risk if not is_of_answers(finding)] if is_known else None
            )
        listed[AUDITOR] = of_risk
    return listed


def _answers_in_words(predictions: pd.DataFrame, image_ids: list[str]) -> dict[str, str]:
    """Return "classifier: dog, 0.981" for each predicted image, or "P(truck) = 0.981" for each label."""
    asked = records(predictions[predictions["image_id"].isin(image_ids)])
    labels = class_columns(predictions, LABEL)
    if not labels:
        return {
            row["image_id"]: f"classifier: {row['predicted']}, {number(row['confidence'])}"
            for row in asked
        }
    return {
        row["image_id"]: ", ".join(
            f"P({name}) = {number(row[f'probability/{name}'])}" for name in labels
        )
        for row in asked
    }


def _checked(subject: str, listed: list[Any] | None, own: Results) -> str:
    if listed is None:
        how = _commands(subject, own)
        return f"Checks of {subject}: none known to be on these images. Run {how}."
    missed = sum(not finding["evidence"] for finding in listed)
    count = len(listed) - missed
    what = {0: "and found nothing", 1: "1 finding"}.get(count, f"{count} findings")
    return f"Checks of {subject}: run, {what}{f'; {missed} not made' if missed else ''}."


def _robustness(own: Results, summary: dict[str, Any]) -> OtherResults | str | None:
    """Return the results of `robustness`, or why there are none; None if there is no such pipeline."""
    if summary["classifier"]["output"] != "softmax":
        return None
    pipeline = _stage(own, "robustness")
    table = own.load("robustness.csv")
    if table is None:
        return f"Not run: {_commands(pipeline, own)}."
    if own.training("robustness.csv") != summary["training"]:
        return f"Measured on another training of this classifier: {_commands(pipeline, own)}."
    figure = own.load("figures/robustness.png")
    return OtherResults(table=table, figures={} if figure is None else {"robustness": figure})


def _risk(own: Results, results: Results, summary: dict[str, Any]) -> OtherResults | str | None:
    """Return the results of `risk`, or why there are none; None in the report on a sigmoid output."""
    if summary["classifier"]["output"] != "softmax":
        return None
    left = _audited_risk(summary, results)
    return f"{left}: {_commands(AUDITOR, own)}." if isinstance(left, str) else left


def _audited_risk(summary: dict[str, Any], results: Results) -> OtherResults | str:
    """Return the results of `risk` on the classifier's images, or why there are none."""
    metrics, risk = (results.load(f"{AUDITOR}/{name}.json") for name in ("metrics", "summary"))
    if metrics is None:
        return "Not run"
    if risk is None or _data_of(risk) is None or _data_of(summary) is None:
        return "Measured on unknown images"
    if _data_of(risk) != _data_of(summary):
        return "Measured on other images"
    if {results.training(f"{AUDITOR}/{name}.json") for name in ("metrics", "findings")} != {
        risk["training"]
    }:
        return "Its report is older than its results"
    figures = results.figures(f"{AUDITOR}/figures")
    of_training = {
        name: png
        for name, png in figures.items()
        if results.training(f"{AUDITOR}/figures/{name}.png") == risk["training"]
    }
    return OtherResults(metrics=metrics, figures=of_training)


def _data_of(summary: dict[str, Any]) -> str | None:
    digest: str | None = summary["classifier"]["provenance"].get("data")
    return digest


def _commands(pipeline: str, own: Results) -> str:
    """Return the commands that run a pipeline and then only the report."""
    again = f"kedro run --pipelines={_stage(own, 'report')}"
    return f"kedro run --pipelines={pipeline}, then {again}, each with the --params of this run"


def _stage(own: Results, stage: str) -> str:
    """Return the name of the pipeline that is a stage of this classifier."""
    return stage if own.name == DEFAULT else f"{own.name}_{stage}"
