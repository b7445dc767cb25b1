"""The page that compares classifiers by the results in their own reports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glasshead.reporting.findings import ListedFinding
from glasshead.reporting.page import page
from glasshead.reporting.pictures import fitted
from glasshead.reporting.report import RESERVED
from glasshead.reporting.verdicts import Metrics

FIGURES = ("reliability", "confusion_matrix", "explanation_report")
HIGHER = ("accuracy", "macro_f1", "top2_accuracy")
LOWER = ("brier", "ece", "nll")


@dataclass(frozen=True)
class Compared:
    """A classifier's summary, metrics, findings, and figures (PNG bytes by name)."""

    summary: Mapping[str, Any]
    metrics: Metrics
    findings: Sequence[ListedFinding]
    figures: Mapping[str, bytes]


def comparison_page(classifiers: Mapping[str, Compared], missing: list[str], most: int) -> str:
    """Return an HTML page of at most `most` bytes, if re-encoding its pictures can make it that small."""
    pngs = {
        f"{name}/{figure}": compared.figures[figure]
        for figure in FIGURES
        for name, compared in classifiers.items()
        if figure in compared.figures
    }
    pictures = fitted(pngs, (most - RESERVED) * 3 // 4)
    measured = {name: compared.metrics for name, compared in classifiers.items()}
    names = dict.fromkeys(metric for metrics in measured.values() for metric in metrics)
    return page(
        "comparison.html",
        classifiers={name: compared.summary for name, compared in classifiers.items()},
        findings={name: compared.findings for name, compared in classifiers.items()},
        missing=missing,
        verdicts=list(
            zip(*(compared.summary["verdicts"] for compared in classifiers.values()), strict=True)
        ),
        metrics={
            metric: {name: metrics.get(metric) for name, metrics in measured.items()}
            for metric in names
        },
        best={metric: best(metric, measured) for metric in names},
        figures=[
            {"caption": key.replace("/", ": ").replace("_", " "), "picture": picture}
            for key, picture in pictures.items()
        ],
    )


def best(metric: str, measured: Mapping[str, Metrics]) -> str | None:
    """Return the classifier whose interval is better than all others, or "unresolved" if intervals overlap.

    Returns None if only one classifier has the metric, or if the metric has no better direction.
    """
    estimates = {
        name: own_metrics[metric] for name, own_metrics in measured.items() if metric in own_metrics
    }
    if metric not in HIGHER + LOWER or len(estimates) < 2:
        return None
    if any(estimate["low"] is None for estimate in estimates.values()):
        return "unresolved"
    sign = 1 if metric in HIGHER else -1
    bounds = {
        name: sorted((sign * estimate["low"], sign * estimate["high"]))
        for name, estimate in estimates.items()
    }
    first = max(bounds, key=lambda name: bounds[name])
    highest_rival = max(high for name, (_, high) in bounds.items() if name != first)
    return first if bounds[first][0] > highest_rival else "unresolved"
