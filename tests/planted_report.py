"""What a report is on, planted: a classifier that errs in known ways."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from glasshead.images.table import ImageTable
from glasshead.reporting.findings import ShownFinding, ShownImage, sorted_findings
from glasshead.reporting.report import ReportContent
from glasshead.reporting.risk_verdicts import sigmoid_verdicts
from glasshead.reporting.run_record import reproduction
from glasshead.reporting.verdicts import verdicts

CLASSES = ("cat", "dog", "ship")
METHODS = {  # pointing game and similarity to a network of random weights
    "saliency": (0.9, 0.1),
    "occlusion": (0.95, 0.95),
    "centre_gaussian": (0.6, 1.0),
    "random": (0.2, 1.0),
}
RECORD = {
    "ingest.read_images": {
        "inputs": [],
        "outputs": ["images"],
        "seconds": 3.5,
        "device": "cpu, 2 cores",
        "commit": "c0ffee",
        "changed": False,
        "command": "kedro run --pipelines=ingest",
    },
    "heads.train.fit_heads": {
        "inputs": ["images"],
        "outputs": ["heads.uncalibrated"],
        "seconds": 12.5,
        "device": "cpu, 2 cores",
        "commit": "c0ffee",
        "changed": False,
        "command": "kedro run",
    },
    "cnn.train.fit_cnn": {
        "inputs": ["images"],
        "outputs": ["cnn.uncalibrated"],
        "seconds": 99.0,
        "device": "cuda",
        "commit": "c0ffee",
        "changed": True,
        "command": "kedro run --pipelines=cnn",
    },
    "heads.report.write_report": {
        "inputs": ["heads.uncalibrated", "run_record"],
        "outputs": ["heads.report"],
        "seconds": 77.0,
        "device": "cpu, 2 cores",
        "commit": "01d",
        "changed": True,
        "command": "kedro run --params=seed=99",
    },
}


def estimate(value: float | None, width: float | None = 0.01, n: int = 100) -> dict[str, Any]:
    """Return a metric whose interval reaches `width` to either side."""
    if value is None or width is None:
        return {"value": value, "low": None, "high": None, "n": n}
    return {"value": value, "low": value - width, "high": value + width, "n": n}


def png(side: int = 16, seed: int | None = None) -> bytes:
    """Return a picture, grey or, with a `seed`, of noise that no format makes small."""
    shape = (side, side, 3)
    pixels = np.full(shape, 200, np.uint8)
    if seed is not None:
        pixels = np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def make_images(labels: Mapping[str, str], side: int = 16) -> ImageTable:
    """Return a table of grey images with these ids and labels."""
    common: Any = {
        "image": png(side),
        "given_split": None,
        "mask": None,
        "attributes": {},
        "defects": [],
    }
    records = ({**common, "image_id": name, "label": label} for name, label in labels.items())
    return ImageTable.from_records(records, sorted({*labels.values()}))


def make_metrics(subtask: str = "legs") -> dict[str, Any]:
    """Return metrics of a classifier that is right, and not calibrated."""
    return {
        "accuracy": estimate(0.95),
        "accuracy_linear_probe": estimate(0.94),
        "accuracy_majority": estimate(0.3),
        "brier": estimate(0.06),
        "ece": estimate(0.0301),
        "ece_consistency_95": estimate(0.02, None),
        "macro_f1": estimate(None),
        "temperature": estimate(1.234567, None, n=50),
        "unheard_of": estimate(-0.000012345, 0.000001),
        f"subtask/{subtask}/accuracy": estimate(0.7),
        f"subtask/{subtask}/ece": estimate(0.0425),
    }


def make_explanations() -> dict[str, Any]:
    """Return measures of METHODS."""

    def measure(value: float, better: str) -> dict[str, Any]:
        return {"value": value, "low": value - 0.05, "high": value + 0.05, "better": better}

    return {
        name: {
            "pointing_game": measure(pointing, "higher"),
            "randomisation": measure(alike, "lower"),
        }
        for name, (pointing, alike) in METHODS.items()
    }


def make_tables(classes: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Return class_recall, confused_pairs and reliability; the first class is the weakest, the last has no images."""
    last = len(classes) - 1
    recall = pd.DataFrame({"class": classes, "n": 40, "recall": 1.0, "low": 0.91, "high": 1.0})
    recall.loc[0, ["recall", "low", "high"]] = 0.6, 0.45, 0.74
    recall.loc[last, "n"] = 0
    recall.loc[last, ["recall", "low", "high"]] = None
    pairs = pd.DataFrame(
        {
            "true": [classes[0]],
            "predicted": [classes[1]],
            "count": [16],
            "fraction": [0.4],
            "examples": ['["test/<i>0</i>"]'],
        }
    )
    bins = pd.DataFrame(
        {
            "from": [0.6, 0.9],
            "to": [0.7, 1.0],
            "n": [20, 80],
            "confidence": [0.66, 0.97],
            "accuracy": [0.4, 0.96],
            "low": [0.22, 0.9],
            "high": [0.61, 0.99],
        }
    )
    return {"class_recall": recall, "confused_pairs": pairs, "reliability": bins}


def make_summary(
    name: str = "heads",
    classes: Sequence[str] = CLASSES,
    metrics: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the summary, as the pipeline makes it of these results."""
    found, explanations = metrics or make_metrics(), make_explanations()
    return {
        "name": name,
        "training": "7ra1n1ng",
        "classifier": {
            "kind": "heads",
            "classes": list(classes),
            "input_size": 8,
            "output": "softmax",
            "temperatures": {"final": 1.234567, "legs": 1.5},
            "abstention": {"threshold": 0.94, "target_error": 0.02, "certainty": 0.95},
            "concepts": [["legs", ["two", "four"]]],
            "provenance": {"data": "d1ge57", "fitting_rows": "f00d", "seed": 7, "backbone": None},
            "weights_sha256": "5ha",
        },
        "data": {"source": "scenes", "images": 400, "quarantined": 3, "classes": {}},
        "splits": {"calibration": 50, "test": 100, "train": 200, "validation": 50},
        "labels": {},
        "verdicts": verdicts(found, explanations, 0.9),
    }


def make_subject(
    classes: Sequence[str] = CLASSES,
    name: str = "heads",
    image_id: str = "test/0",
    **changes: Any,
) -> ReportContent:
    """Return a subject with two images, one of them wrong; `changes` replace what else it has."""
    metrics = make_metrics(subtask=classes[0])
    tables = make_tables(classes)
    examples = pd.DataFrame(
        {
            "image_id": [image_id, "test/1", "test/2"],
            "label": [classes[0], classes[1], classes[0]],
            "predicted": [classes[1], classes[1], classes[0]],
            "confidence": [0.66, 0.97, 0.9],
            "correct": [False, True, True],
            "shown": [True, True, False],
            "measured": True,
        }
    )
    subject = ReportContent(
        summary=make_summary(name, classes, metrics),
        metrics=metrics,
        explanations=make_explanations(),
        examples=examples,
        pixels=np.full((3, 3, 8, 8), 99, np.uint8),
        figures={"reliability": png(), "shapley_global": png(), "of_a_later_stage": png()},
        data_figures={"class_balance": png()},
        findings=[],
        checks=["Checks of this classifier: not run."],
        robustness="Not run: kedro run --pipelines=robustness.",
        risk="Not run: kedro run --pipelines=risk.",
        reproduction=reproduction(name, RECORD),
        **tables,
    )
    return replace(subject, **changes)


def make_risk_metrics() -> dict[str, Any]:
    """Return metrics of a risk auditor whose maps beat the centre, and Grad-CAM in one of two measures."""
    found = {
        "": (0.6, 0.9),
        "_activation": (0.3, 0.95),
        "_centre": (0.4, 0.7),
        "_grad_cam": (0.4, 0.9),
    }
    localisation_images = {
        f"{measure}{end}": estimate(value, n=20)
        for end, pair in found.items()
        for measure, value in zip(("iou", "pointing_game"), pair, strict=True)
    }
    return localisation_images | {
        "auroc": estimate(0.97),
        "brier": estimate(
            (0.8**2 + 0.1**2) / 2 * 2
        ),  # of probabilities 0.2 with and 0.1 without the risk
        "ece": estimate(0.01),
        "ece_consistency_95": estimate(0.02, None),
        "temperature": estimate(1.75, None, n=50),
    }


def make_risk_subject(risk: str = "road") -> ReportContent:
    """Return a risk auditor with a finding and a list of two images to look at."""
    metrics = make_risk_metrics()
    finding: Any = {
        "check": "planted_mark",
        "severity": "high",
        "summary": "A mark decides.",
        "evidence": {"drop": 0.3},
        "rows": ["test/0"],
        "advice": "Remove it.",
    }
    summary = make_summary("risk") | {
        "labels": {"test": {risk: 20}},
        "verdicts": sigmoid_verdicts([risk], metrics, [finding], 0.9),
    }
    summary["classifier"] |= {
        "kind": "risk",
        "classes": [risk],
        "output": "sigmoid",
        "temperatures": {risk: 1.75},
        "abstention": None,
        "concepts": [],
        "settings": {"output": "attention_inputs"},
    }
    to_review = pd.DataFrame(
        {"rank": [1, 2], "image_id": ["train/41", "test/42"], "risk": risk, "surprise": [9.5, 1.1]}
    )
    figures = "curves", "highest", "localisation", "lowest", "reliability", "to_review"
    return ReportContent(
        summary=summary,
        metrics=metrics,
        figures={name: png() for name in figures},
        findings=[
            ShownFinding(each, [ShownImage("test/0")])
            for each in sorted_findings({"risk": [finding]})
        ],
        to_review=to_review,
        reproduction=reproduction("risk", RECORD),
    )
