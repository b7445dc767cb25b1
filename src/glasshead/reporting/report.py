"""The report on one classifier: a self-contained page of everything its pipelines found."""

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from glasshead.explainers.methods import METHODS, real_methods
from glasshead.explainers.randomisation import sanity_check
from glasshead.reporting.findings import SHOWN_ROWS, ShownFinding, size_of
from glasshead.reporting.notes import abstention_note, access_note, plan_note, robustness_notes
from glasshead.reporting.page import page
from glasshead.reporting.pictures import Picture, fitted, thumbnail
from glasshead.reporting.run_record import Reproduction
from glasshead.reporting.verdicts import Explanations, Metrics
from glasshead.reporting.wording import records, shortened

RESERVED = 2_000_000  # bytes of a page kept free for everything but pictures
PAIRS = 50  # most rows of confused pairs in the page; k classes can have up to k (k - 1) pairs
METRIC_GROUPS = {  # title: prefixes of a metric's name (after a class prefix), note; the first group that fits
    "Concepts": (("subtask/",), "Accuracy and ECE of each concept by itself."),
    "Accuracy and its baselines": (
        ("accuracy", "macro_f1", "top2"),
        "On test images. Each baseline leaves something out. accuracy_random_concepts is of the same bottleneck on "
        "meaningless concepts: where it is as high, the concepts' names explain decisions but add nothing to accuracy.",
    ),
    "Calibration": (
        ("ece", "nll", "brier", "temperature"),
        "Of the calibrated probabilities, unless a name says uncalibrated. ece_consistency_95: a perfectly calibrated "
        "classifier stays below it in 95 % of test sets of this size.",
    ),
    "Abstention": (
        ("coverage", "selective_risk"),
        "coverage: the fraction of test images that it is confident enough to answer; selective_risk: the fraction of "
        "those answers that is wrong.",
    ),
    "Where the maps point": (
        ("pointing_game", "iou", "relevance_mass_accuracy"),
        "On test images with the risk and a known mask, at the mask's own area. No ending: the risk "
        "map. _activation: the activations it is spread from. _grad_cam: Grad-CAM of a usual classifier on the "
        "same features. _grad_cam_own: Grad-CAM of the auditor. _centre: a Gaussian in the centre, the baseline.",
    ),
    "Ranking": (
        ("auroc", "auprc", "gap"),
        "Of the score. gap: the mean logit with the label minus that without it.",
    ),
    "Others": (("",), "Further metrics."),
}
FIGURES = {  # anchor: title, caption of each figure
    "performance": (
        "Performance",
        {
            "confusion_matrix": "True against predicted class, shaded by fraction of the true class.",
            "class_recall": "Recall of each class with its 95 % interval.",
            "confused_pairs": "The most confused pairs, their most confident mistakes first.",
            "mistakes": "What the classifier saw in images that it got wrong.",
            "curves": "ROC, precision against recall, and the logits of test images.",
            "training_history": "Losses and validation measures by epoch.",
        },
    ),
    "calibration": (
        "Calibration",
        {"reliability": "Accuracy against confidence, before and after temperature scaling."},
    ),
    "concepts": (
        "Concepts",
        {
            "shapley_global": "What each concept adds to decisions, on average over the explained images.",
            "shapley_beeswarm": "What each concept adds to each decision.",
            "shapley_images": "What the heads saw in test images, and what each concept added.",
            "shapley_mistake": "A wrong decision as a sum of its concepts.",
            "shapley_right": "A right decision as a sum of its concepts.",
            "interactions": "What pairs of concepts add together.",
            "answer_maps": "Which pixels each concept's answer rests on.",
            "interventions": "Accuracy when concepts are corrected, or known, one after the other.",
        },
    ),
    "explanations": (
        "Explanations",
        {
            "explanation_report": "Which explanation to believe: the measures of each method.",
            "explanation_gallery": "Where methods look, in wrong and in right decisions.",
            "explanation_views": "Where the classifier looks, for two groups of classes.",
        },
    ),
    "maps": (
        "Where the maps point",
        {
            "localisation": "Pointing game and IoU of the risk map, beside Grad-CAM and a Gaussian in the centre.",
            "highest": "Test images with the highest scores.",
            "uncertain": "Test images whose probability is nearest to a half.",
            "lowest": "Test images with the lowest scores.",
        },
    ),
    "review": (
        "Images to look at",
        {
            "to_review": "The first images of the list, of all splits: those that contradict their label."
        },
    ),
    "further": ("Further figures", {}),
}
SECTIONS = {
    "verdicts": "Verdicts",
    "findings": "Findings",
    "metrics": "Metrics",
    **{anchor: title for anchor, (title, _) in FIGURES.items()},
    "gallery": "Gallery",
    "robustness": "Robustness",
    "risk": "Risk",
    "classes": "Classes",
    "data": "Data",
    "provenance": "Provenance",
    "reproduce": "Reproduce",
}


@dataclass(frozen=True)
class OtherResults:
    """The results of an optional pipeline: figures (PNG bytes by name), and metrics or a table."""

    figures: Mapping[str, bytes] = field(default_factory=dict)
    metrics: Metrics = field(default_factory=dict)
    table: pd.DataFrame | None = None


@dataclass(frozen=True)
class ReportContent:
    """The content of a report: `summary` from `judge_classifier`, and the outputs of the other pipelines.

    Results that a classifier does not have are None or empty. `checks` holds a sentence for each subject of findings on
    whether its checks ran. `robustness` and `risk` are the reason as text if there are no results.
    """

    summary: Mapping[str, Any]
    metrics: Metrics
    figures: Mapping[str, bytes]
    findings: Sequence[ShownFinding]
    reproduction: Reproduction
    explanations: Explanations = field(default_factory=dict)
    plan: Mapping[str, Any] | None = None
    class_recall: pd.DataFrame | None = None
    confused_pairs: pd.DataFrame | None = None
    reliability: pd.DataFrame | None = None
    examples: pd.DataFrame | None = None
    pixels: np.ndarray | None = None
    to_review: pd.DataFrame | None = None
    data_figures: Mapping[str, bytes] = field(default_factory=dict)
    checks: Sequence[str] = ()
    robustness: OtherResults | str | None = None
    risk: OtherResults | str | None = None


def report_page(subject: ReportContent, most: int) -> str:
    """Return an HTML page of at most `most` bytes, if re-encoding its pictures can make it that small."""
    gallery = _gallery(subject.examples, subject.pixels)
    used = sum(len(row["picture"].data) for row in gallery) + size_of(subject.findings)
    sets = {
        "own": subject.figures,
        "data": subject.data_figures,
        "robustness": _figures_of(subject.robustness),
        "risk": _figures_of(subject.risk),
    }
    pngs = {
        f"{owner}/{name}": png for owner, several in sets.items() for name, png in several.items()
    }
    pictures = fitted(pngs, (most - RESERVED) * 3 // 4 - used)  # base64 turns three bytes into four
    own = {name: pictures[f"own/{name}"] for name in subject.figures}
    with_tables = {"explanations"} if subject.explanations else set()
    with_tables |= {"review"} if subject.to_review is not None else set()
    groups = grouped(own, with_tables)
    described, reproduction = subject.summary["classifier"], subject.reproduction
    # Metrics of single classes are left out, as they have their own table.
    described_alone = {
        name: shortened(value) for name, value in described.items() if name != "classes"
    }
    absent = {
        "gallery": subject.examples is None,
        "robustness": subject.robustness is None,
        "risk": subject.risk is None,
        "classes": subject.class_recall is None,
    }
    return page(
        "report.html",
        name=subject.summary["name"],
        kind=described["kind"],
        network=_network(described),
        access=access_note(described),
        output=described["output"],
        classes=described["classes"],
        input_size=described["input_size"],
        sections={
            anchor: title
            for anchor, title in SECTIONS.items()
            if not absent.get(anchor) and (anchor not in FIGURES or anchor in groups)
        },
        verdicts=subject.summary["verdicts"],
        findings=subject.findings,
        checked=subject.checks,
        shown_rows=SHOWN_ROWS,
        metrics=_metric_groups(subject.metrics),
        figures=groups,
        abstention=abstention_note(described, subject.metrics),
        plan=plan_note(subject.plan),
        measures=_measures(subject.explanations),
        explained=_explained(subject.explanations),
        gallery=gallery,
        robustness=_shown(subject.robustness, "robustness", pictures),
        notes=notes_on(subject.robustness),
        risk=_shown(subject.risk, "risk", pictures),
        recall=as_table(subject.class_recall),
        pairs=_pairs(subject.confused_pairs),
        reliability=as_table(subject.reliability),
        to_review=as_table(subject.to_review),
        data={
            "source": {
                name: value for name, value in subject.summary["data"].items() if name != "classes"
            },
            "splits": subject.summary["splits"],
            "images with each label": subject.summary["labels"],
        },
        data_figures=_captioned("data", pictures),
        provenance=described_alone | {"concepts": dict(described["concepts"])},
        versions=reproduction.versions,
        record=as_table(reproduction.nodes),
        commands=reproduction.commands,
        dirty=reproduction.dirty,
    )


def notes_on(robustness: OtherResults | str | None) -> list[str]:
    """Return sentences on the results for changed images, or the reason why there are none."""
    if isinstance(robustness, str) or robustness is None or robustness.table is None:
        return [str(robustness)] if robustness else []
    return robustness_notes(robustness.table)


def as_table(frame: pd.DataFrame | None) -> dict[str, list[Any]]:
    """Return columns and rows of a table as plain values, None for missing ones; both are empty if `frame` is None."""
    frame = pd.DataFrame() if frame is None else frame
    plain = frame.astype(object).where(frame.notna(), None)
    return {"columns": list(frame.columns), "rows": plain.to_numpy(object).tolist()}


def grouped(
    pictures: Mapping[str, Picture], with_tables: Set[str]
) -> dict[str, list[dict[str, Any]]]:
    """Return pictures by the anchors of FIGURES; pictures that FIGURES does not list go to "further".

    Anchors without pictures are left out, except those `with_tables`.
    """
    captions = {anchor: dict(listed) for anchor, (_, listed) in FIGURES.items()}
    listed_names = {name for listed in captions.values() for name in listed}
    captions["further"] = {
        name: name.replace("_", " ") for name in pictures if name not in listed_names
    }
    groups = {
        anchor: [
            {"caption": caption, "picture": pictures[name]}
            for name, caption in listed.items()
            if name in pictures
        ]
        for anchor, listed in captions.items()
    }
    return {anchor: shown for anchor, shown in groups.items() if shown or anchor in with_tables}


def _gallery(examples: pd.DataFrame | None, pixels: np.ndarray | None) -> list[dict[str, Any]]:
    if examples is None or pixels is None:
        return []
    shown = np.flatnonzero(examples["shown"])
    rows = records(examples.iloc[shown])
    return [
        {**example, "picture": thumbnail(pixels[row])}
        for row, example in zip(shown, rows, strict=True)
    ]


def _metric_groups(metrics: Metrics) -> dict[str, dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for name, estimate in metrics.items():
        own_name = name if name.startswith("subtask/") else name.rsplit("/", 1)[-1]
        title, (_, note) = next(
            (title, group)
            for title, group in METRIC_GROUPS.items()
            if own_name.startswith(group[0])
        )
        groups.setdefault(title, {"note": note, "estimates": {}})["estimates"][name] = estimate
    return {title: groups[title] for title in METRIC_GROUPS if title in groups}


def _captioned(owner: str, pictures: Mapping[str, Picture]) -> list[dict[str, Any]]:
    return [
        {"caption": name.removeprefix(f"{owner}/").replace("_", " "), "picture": content}
        for name, content in pictures.items()
        if name.startswith(f"{owner}/")
    ]


def _figures_of(results: OtherResults | str | None) -> Mapping[str, bytes]:
    return results.figures if isinstance(results, OtherResults) else {}


def _shown(
    results: OtherResults | str | None, owner: str, pictures: Mapping[str, Picture]
) -> dict[str, Any] | str | None:
    if not isinstance(results, OtherResults):
        return results
    return {
        "figures": _captioned(owner, pictures),
        "metrics": results.metrics,
        "table": None if results.table is None else as_table(results.table),
    }


def _network(described: Mapping[str, Any]) -> str | None:
    """Return the name of the classifier's frozen network, of its architecture, or of its file; None without any."""
    settings = described.get("settings", {})
    if backbone := settings.get("backbone"):
        return str(backbone["name"])
    source = described.get("provenance", {}).get("source", {})
    name: str | None = settings.get("architecture") or source.get("path")
    return name


def _measures(explanations: Explanations) -> dict[str, str]:
    """Return for each measure whether higher or lower is better."""
    return {
        name: measure["better"]
        for measures in explanations.values()
        for name, measure in measures.items()
    }


def _explained(explanations: Explanations) -> dict[str, dict[str, Any]]:
    known = [name for name in explanations if name in METHODS]
    baselines = {*known} - {*real_methods(known)}
    return {
        name: {
            "sanity_check": "baseline" if name in baselines else sanity_check(name, explanations),
            "measures": measures,
        }
        for name, measures in explanations.items()
    }


def _pairs(pairs: pd.DataFrame | None) -> dict[str, Any]:
    if pairs is None:
        return as_table(None)
    shown = pairs.head(PAIRS)
    examples = [", ".join(map(str, json.loads(ids))) for ids in shown["examples"]]
    return {**as_table(shown.assign(examples=examples)), "of": len(pairs)}
