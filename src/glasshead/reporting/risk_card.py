"""The model card of a risk auditor: Markdown with Hugging Face metadata, from what its pipeline found."""

from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import ModelCard

from glasshead import __version__
from glasshead.reporting.card import INTENDED_USE, card_metadata
from glasshead.reporting.findings import ListedFinding
from glasshead.reporting.page import markdown
from glasshead.reporting.run_record import Reproduction, training_time
from glasshead.reporting.verdicts import Metrics


def risk_card(
    summary: Mapping[str, Any],
    metrics: Metrics,
    findings: Sequence[ListedFinding],
    reproduction: Reproduction,
    licence: str,
    intended_use: str | None,
) -> str:
    """Return the card."""
    body = markdown(
        "risk_card.md",
        described=summary["classifier"],
        version=__version__,
        intended_use=intended_use or INTENDED_USE,
        verdicts=summary["verdicts"],
        failures=summary["failures"],
        findings=findings,
        data=summary["data"],
        features=summary["features"],
        balance=summary["balance"],
        metrics=metrics,
        trained=training_time(summary["name"], reproduction.nodes),
        licence=licence,
    )
    metadata = card_metadata(summary, metrics, licence).to_yaml()
    return str(ModelCard(f"---\n{metadata}\n---\n\n{body}"))
