"""Nodes of `report`. They judge and show what others measured."""

from typing import Any, Protocol

import numpy as np
import pandas as pd

from glasshead.audit.findings import Finding
from glasshead.errors import ArtifactError
from glasshead.images.table import ImageTable, check_predictions
from glasshead.pipelines.report.params import ReportParams
from glasshead.reporting.card import model_card
from glasshead.reporting.failures import failures
from glasshead.reporting.findings import shown_ids, sorted_findings, with_images
from glasshead.reporting.judged import digests_of
from glasshead.reporting.report import OtherResults, Subject, report_page
from glasshead.reporting.risk_verdicts import is_of_answers
from glasshead.reporting.run_record import reproduction
from glasshead.reporting.verdicts import Explanations, Metrics, verdicts
from glasshead.reporting.wording import number, records

Record = dict[str, dict[str, Any]]
DEFAULT = "heads"  # the classifier that the bare names of pipelines mean
RISK = "risk"


class ResultsFolder(Protocol):
    """A folder of results of which some may not be there."""

    @property
    def name(self) -> str:
        """The folder's own name."""

    def load(self, place: str) -> Any | None:
        """Return a result, None where no run has left it."""

    def figures(self, place: str) -> dict[str, bytes]:
        """Return the PNGs in a folder by name."""


class Described(Protocol):
    """What a report asks of a classifier."""

    temperature: float

    def describe(self) -> dict[str, Any]:
        """Return all but the weights."""

    def weights_digest(self) -> str:
        """Return the hash of the weights."""


def judge_classifier(
    own_results: ResultsFolder,
    classifier: Described,
    images: ImageTable,
    samples: pd.DataFrame,
    ingest_counts: dict[str, Any],
    predictions: pd.DataFrame,
    metrics: Metrics,
    class_recall: pd.DataFrame,
    confused_pairs: pd.DataFrame,
    reliability: pd.DataFrame,
    examples: pd.DataFrame,
    explanations: Explanations,
    parameters: ReportParams,
    interventions: Metrics | None = None,
) -> dict[str, Any]:
    """Return name, the classifier's description, data and splits, and what is concluded: verdicts and failures.

    Raises ArtifactError where metrics or explanations are of another training than the classifier, or predictions,
    samples and images not of each other.
    """
    check_predictions(images, samples, predictions)
    _check_one_training(classifier, metrics, predictions, examples)
    return {
        "name": own_results.name,
        "classifier": classifier.describe() | {"weights_sha256": classifier.weights_digest()},
        "data": ingest_counts,
        "splits": samples["split"].value_counts().sort_index().to_dict(),
        "verdicts": verdicts(metrics, explanations, parameters.right_from),
        "failures": failures(
            metrics,
            class_recall,
            confused_pairs,
            reliability,
            explanations,
            interventions,
        ),
    }


def write_report(
    own_results: ResultsFolder,
    results: ResultsFolder,
    run_record: Record,
    findings: list[Finding],
    images: ImageTable,
    predictions: pd.DataFrame,
    summary: dict[str, Any],
    metrics: Metrics,
    class_recall: pd.DataFrame,
    confused_pairs: pd.DataFrame,
    reliability: pd.DataFrame,
    explanations: Explanations,
    examples: pd.DataFrame,
    example_images: dict[str, np.ndarray],
    class_balance_figure: bytes,
    mean_images_figure: bytes,
    parameters: ReportParams,
    **figures: bytes,
) -> str:
    """Return the page on the classifier, with its `figures` as PNG and whatever other pipelines left.

    Raises ArtifactError where an image that shows a finding is damaged.
    """
    listed = _findings(findings, results, summary)
    worst_first = sorted_findings(listed)
    subject = Subject(
        summary=summary,
        metrics=metrics,
        explanations=explanations,
        class_recall=class_recall,
        confused_pairs=confused_pairs,
        reliability=reliability,
        examples=examples,
        pixels=example_images["pixels"],
        figures={name.removesuffix("_figure"): png for name, png in figures.items()},
        data_figures={"class_balance": class_balance_figure, "mean_images": mean_images_figure},
        findings=with_images(worst_first, images, _answers(predictions, shown_ids(worst_first))),
        checks=[_checked(name, each, own_results) for name, each in listed.items()],
        robustness=_robustness(own_results, summary),
        risk=_risk(own_results, results, summary),
        reproduction=reproduction(own_results.name, run_record),
    )
    return report_page(subject, parameters.most)


def write_model_card(
    own_results: ResultsFolder,
    results: ResultsFolder,
    run_record: Record,
    findings: list[Finding],
    summary: dict[str, Any],
    metrics: Metrics,
    parameters: ReportParams,
) -> str:
    """Return the model card, in Markdown with Hugging Face metadata."""
    return model_card(
        summary,
        metrics,
        sorted_findings(_findings(findings, results, summary)),
        _robustness(own_results, summary),
        reproduction(own_results.name, run_record),
        parameters.licence,
        parameters.intended_use,
    )


def _check_one_training(
    classifier: Described, metrics: Metrics, predictions: pd.DataFrame, examples: pd.DataFrame
) -> None:
    if metrics["temperature"]["value"] != classifier.temperature:
        raise ArtifactError(
            "The metrics are of another training than the classifier. Run the evaluate pipeline again."
        )
    columns = ["image_id", "label", "predicted", "confidence"]
    now = predictions.set_index("image_id", drop=False)[columns].reindex(examples["image_id"])
    if not now.reset_index(drop=True).equals(examples[columns].reset_index(drop=True)):
        raise ArtifactError(
            "The explanations are of another training than the predictions. Run the explain pipeline again."
        )


def _findings(
    own: list[Finding], results: ResultsFolder, summary: dict[str, Any]
) -> dict[str, list[Any] | None]:
    of_risk = results.load("risk/findings.json")
    if of_risk is not None:
        is_judged = not isinstance(_judged_risk(summary, results), str)
        of_risk = [each for each in of_risk if not is_of_answers(each)] if is_judged else None
    return {
        "this classifier": own,
        "the data": results.load("data/findings.json"),
        RISK: of_risk,
    }


def _answers(predictions: pd.DataFrame, image_ids: list[str]) -> dict[str, str]:
    """Return "classifier: dog, 0.981" of each image that has a prediction."""
    asked = predictions[predictions["image_id"].isin(image_ids)]
    return {
        row["image_id"]: f"classifier: {row['predicted']}, {number(row['confidence'])}"
        for row in records(asked)
    }


def _checked(subject: str, listed: list[Any] | None, own: ResultsFolder) -> str:
    if listed is not None:
        missed = sum(not each["evidence"] for each in listed)
        count = len(listed) - missed
        found = {0: "and found nothing", 1: "1 finding"}.get(count, f"{count} findings")
        return f"Checks of {subject}: run, {found}{f'; {missed} not made' if missed else ''}."
    how = f": {_commands('risk', own)}" if subject == RISK else ""
    missing = "none known to be on these images" if subject == RISK else "not run"
    return f"Checks of {subject}: {missing}{how}."


def _robustness(own: ResultsFolder, summary: dict[str, Any]) -> OtherResults | str:
    """Return what `robustness` left, or why there is nothing to show."""
    pipeline = _stage(own, "robustness")
    table = own.load("robustness.csv")
    if table is None:
        return f"Not run: {_commands(pipeline, own)}."
    if set(table["weights_sha256"]) != {summary["classifier"]["weights_sha256"]}:
        return f"Measured on another training of this classifier: {_commands(pipeline, own)}."
    figure = own.load("figures/robustness.png")
    return OtherResults(
        table=table.drop(columns="weights_sha256"),
        figures={} if figure is None else {"robustness": figure},
    )


def _risk(
    own: ResultsFolder, results: ResultsFolder, summary: dict[str, Any]
) -> OtherResults | str:
    """Return what `risk` left, or why there is nothing to show."""
    found = _judged_risk(summary, results)
    return f"{found}: {_commands('risk', own)}." if isinstance(found, str) else found


def _judged_risk(summary: dict[str, Any], results: ResultsFolder) -> OtherResults | str:
    """Return what `risk` left on the classifier's images, or why nothing there is known to be on them.

    The images are those of the auditor's summary, which vouches only for the very results that it has judged.
    """
    metrics, risk = results.load("risk/metrics.json"), results.load("risk/summary.json")
    if metrics is None:
        return "Not run"
    if risk is None or _data_of(risk) is None or _data_of(summary) is None:
        return "Measured on unknown images"
    if _data_of(risk) != _data_of(summary):
        return "Measured on other images"
    figures = results.figures("risk/figures")
    found = digests_of(metrics, results.load("risk/findings.json"), figures)
    judged = risk.get("judged")  # summaries older than it have none
    if not judged or not judged.items() <= found.items():
        return "Its report is older than its results"
    shown = {name: png for name, png in figures.items() if f"figures/{name}" in judged}
    return OtherResults(metrics=metrics, figures=shown)


def _data_of(summary: dict[str, Any]) -> str | None:
    digest: str | None = summary["classifier"]["provenance"].get("data")
    return digest


def _commands(pipeline: str, own: ResultsFolder) -> str:
    """Return the commands that run a pipeline, and then the report alone."""
    again = f"kedro run --pipelines={_stage(own, 'report')}"
    return f"kedro run --pipelines={pipeline}, then {again}, each with the --params of this run"


def _stage(own: ResultsFolder, stage: str) -> str:
    """Return the name of the pipeline that is a stage of this classifier."""
    return stage if own.name == DEFAULT else f"{own.name}_{stage}"
