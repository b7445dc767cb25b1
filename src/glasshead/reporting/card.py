"""The model card of a classifier: Markdown with Hugging Face metadata."""

from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from glasshead import __version__
from glasshead.reporting.findings import ListedFinding
from glasshead.reporting.notes import abstention_note, access_note
from glasshead.reporting.page import markdown
from glasshead.reporting.report import OtherResults, notes_on
from glasshead.reporting.run_record import Reproduction, training_time
from glasshead.reporting.verdicts import Metrics

TASK = "image-classification"
CLASSES = 50  # most names of classes that the card lists
INTENDED_USE = "Trying Glasshead out. No other use has been stated (`report.intended_use`)."


def model_card(
    summary: Mapping[str, Any],
    metrics: Metrics,
    findings: Sequence[ListedFinding],
    robustness: OtherResults | str | None,
    reproduction: Reproduction,
    licence: str,
    intended_use: str | None,
) -> str:
    """Return the card; `robustness` is the reason if there are no results, None if they cannot be measured."""
    described = summary["classifier"]
    body = markdown(
        "model_card.md",
        name=summary["name"],
        described=described,
        listed=CLASSES,
        access=access_note(described),
        version=__version__,
        intended_use=intended_use or INTENDED_USE,
        doubts=[verdict for verdict in summary["verdicts"] if verdict["answer"] != "yes"],
        findings=findings,
        robustness=notes_on(robustness),
        measured=not isinstance(robustness, str),
        data=summary["data"],
        splits=summary["splits"],
        labels=summary["labels"],
        metrics=metrics,
        calibrated=[v for v in summary["verdicts"] if "calibrated" in v["question"]],
        abstention=abstention_note(described, metrics),
        trained=training_time(summary["name"], reproduction.nodes),
        licence=licence,
    )
    metadata = card_metadata(summary, metrics, licence).to_yaml()
    return str(ModelCard(f"---\n{metadata}\n---\n\n{body}"))


def card_metadata(summary: Mapping[str, Any], metrics: Metrics, licence: str) -> ModelCardData:
    """Return the metadata that the Hugging Face hub reads: licence, data, and the metrics that are defined."""
    source = summary["data"]["source"]
    results = [
        EvalResult(
            task_type=TASK,
            dataset_type=source,
            dataset_name=source,
            dataset_split="test",
            dataset_revision=summary["classifier"]["provenance"].get("data"),
            metric_type=name,
            metric_name=name,
            metric_value=metric["value"],
            metric_args={bound: metric[bound] for bound in ("low", "high", "n")},
        )
        for name, metric in metrics.items()
        if metric["value"] is not None
    ]
    return ModelCardData(
        license=licence,
        library_name="glasshead",
        pipeline_tag=TASK,
        tags=["calibrated", "explainable", summary["classifier"]["kind"]],
        model_name=summary["name"],
        eval_results=results,
    )
