"""The report on a risk auditor: scores, maps, proof, findings and the images to look at, on one page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from glasshead.reporting.findings import SHOWN_ROWS, ShownFinding, size_of
from glasshead.reporting.page import page
from glasshead.reporting.pictures import fitted
from glasshead.reporting.report import RESERVED, grouped, rows_of
from glasshead.reporting.run_record import Reproduction
from glasshead.reporting.verdicts import Metrics

METRIC_GROUPS = {  # by how the name of a metric begins, behind that of its risk; the first that fits
    "Where the maps point": (
        ("pointing_game", "iou", "mass_in_mask"),
        "On test images with the risk and a known mask, at the mask's own area. No ending: the risk map. _evidence: "
        "what it is spread from. _grad_cam: Grad-CAM of a usual classifier on the same features. _grad_cam_own: "
        "Grad-CAM of the auditor. _centre: a Gaussian in the centre, which looks at nothing.",
    ),
    "Calibration": (
        ("ece", "nll", "brier", "temperature"),
        "Of the calibrated probability, unless a name says uncalibrated. ece_consistency_95: what a perfectly "
        "calibrated one would stay below in 95 % of test sets of this size.",
    ),
    "Ranking": (("",), "Of the score. gap: the mean logit with the risk minus that without it."),
}
FIGURES = {  # anchor: title, caption of each figure
    "maps": (
        "Where the maps point",
        {
            "localisation": "Pointing game and IoU of the risk map, beside Grad-CAM and a Gaussian in the centre.",
            "highest": "Test images with the highest scores.",
            "uncertain": "Test images whose probability is nearest to a half.",
            "lowest": "Test images with the lowest scores.",
        },
    ),
    "scores": (
        "Scores",
        {
            "curves": "ROC, precision against recall, and the logits of test images.",
            "reliability": "Accuracy against confidence, before and after temperature scaling.",
            "training_history": "Losses, gap, ranking and localisation while training.",
        },
    ),
    "review": (
        "Images to look at",
        {"to_review": "The first of the list, of all splits: those that contradict their label."},
    ),
    "further": ("Further figures", {}),
}
SECTIONS = {
    "verdicts": "Verdicts",
    "failures": "What goes wrong",
    "findings": "Findings",
    **{anchor: title for anchor, (title, _) in FIGURES.items()},
    "metrics": "Metrics",
    "files": "Files",
    "data": "Data",
    "provenance": "Provenance",
    "reproduce": "Reproduce",
}
FILES = {  # from the project's root
    "data/07_model_output/risk/scores.parquet": "logit and calibrated probability of each risk, of all images",
    "data/07_model_output/risk/maps.npz": "the risk maps of all images, as coarse as the features",
    "data/08_reporting/risk/metrics.json": "every metric with its interval",
    "data/08_reporting/risk/localisation.parquet": "how each test image's maps agree with its mask",
    "data/08_reporting/risk/findings.json": "what the checks have found",
    "data/08_reporting/risk/to_review.csv": "the images to look at",
    "data/08_reporting/risk/figures/": "the figures of this page",
    "data/06_models/risk/calibrated/": "the auditor",
}


@dataclass(frozen=True)
class RiskSubject:
    """What a report on a risk auditor is on: `summary` as `judge_auditor` makes it, results as `risk` leaves them."""

    summary: Mapping[str, Any]
    metrics: Metrics
    figures: Mapping[str, bytes]
    findings: Sequence[ShownFinding]
    to_review: pd.DataFrame
    reproduction: Reproduction


def risk_page(subject: RiskSubject, most: int) -> str:
    """Return a page of at most `most` bytes, as far as re-encoding its pictures can do that."""
    room = (most - RESERVED) * 3 // 4  # base64 makes four bytes of three
    pictures = fitted(subject.figures, room - size_of(subject.findings))
    groups = grouped(pictures, FIGURES, always="review")
    summary, reproduction = subject.summary, subject.reproduction
    described = summary["classifier"]
    return page(
        "risk.html",
        risks=described["classes"],
        input_size=described["input_size"],
        sections={
            anchor: title
            for anchor, title in SECTIONS.items()
            if anchor not in FIGURES or anchor in groups
        },
        verdicts=summary["verdicts"],
        failures=summary["failures"],
        findings=subject.findings,
        shown_rows=SHOWN_ROWS,
        figures=groups,
        to_review=rows_of(subject.to_review),
        metrics=_metric_groups(subject.metrics),
        files={"columns": ["file", "what"], "rows": [list(row) for row in FILES.items()]},
        data={name: each for name, each in summary["data"].items() if name != "classes"},
        balance={
            "columns": ["split", "images", *described["classes"]],
            "rows": [
                [split, each["images"], *(each["with"][risk] for risk in described["classes"])]
                for split, each in summary["balance"].items()
            ],
        },
        provenance=_provenance(summary),
        versions=reproduction.versions,
        record=rows_of(reproduction.nodes),
        commands=reproduction.commands,
        dirty=reproduction.dirty,
    )


def _provenance(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of the auditor but for what only other classifiers have."""
    names = "kind", "provenance", "settings", "weights_sha256"
    described = summary["classifier"]
    return {
        "temperatures": described["concept_temperatures"],
        "features": summary["features"],
        **{name: described[name] for name in names},
    }


def _metric_groups(metrics: Metrics) -> dict[str, dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {
        title: {"note": note, "found": {}} for title, (_, note) in METRIC_GROUPS.items()
    }
    for name, found in metrics.items():
        plain = name.rsplit("/", 1)[-1]
        title = next(
            title for title, (starts, _) in METRIC_GROUPS.items() if plain.startswith(starts)
        )
        groups[title]["found"][name] = found
    return groups
