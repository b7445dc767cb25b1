"""Every figure is the same picture, to the byte, each time it is drawn in a process."""

import hashlib
import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

import glasshead.reporting
from glasshead.calibration.metrics import ReliabilityCurve
from glasshead.datasets.atomic import AtomicFigure
from glasshead.explainers.measures import Measure
from glasshead.reporting.concept_figures import (
    plot_interactions,
    plot_interventions,
    plot_shapley_beeswarm,
    plot_shapley_global,
    plot_shapley_images,
    plot_shapley_mistake,
    plot_shapley_right,
)
from glasshead.reporting.data_figures import MeanImage, mean_images_figure, plot_class_balance
from glasshead.reporting.evaluation_figures import (
    confused_pairs_figure,
    confusion_matrix_figure,
    plot_class_recall,
    reliability_figure,
)
from glasshead.reporting.explanation_evaluation_figure import plot_explanation_evaluation
from glasshead.reporting.figures import message_figure, new_figure
from glasshead.reporting.gallery_figure import plot_answer_maps, plot_explanation_gallery
from glasshead.reporting.mistake_figures import mistakes_figure
from glasshead.reporting.risk_figures import (
    plot_localisation,
    risk_ablation_figure,
    risk_curves_figure,
)
from glasshead.reporting.risk_figures import plot_training_history as plot_risk_history
from glasshead.reporting.risk_gallery import Heated, Scale, risk_gallery_figure
from glasshead.reporting.robustness_figure import plot_robustness
from glasshead.reporting.training_figures import (
    comparison_figure,
    convergence_figure,
    plot_interpolation,
    plot_training_history,
)
from glasshead.reporting.view_figures import explanation_views_figure

TIMES = 10
NAMES = ["cat", "dog", "ship"]
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 255, (4, 3, 8, 8), dtype=np.uint8)
ESTIMATE = Measure(value=0.6, low=0.5, high=0.7, better="higher", n=9)
MAPS = {
    "methods": np.array(["saliency", "random"]),
    "not_applicable": np.array([["grad_cam", "it has no such layer"]]),
    "saliency": RNG.normal(size=(4, 8, 8)).astype(np.float32),
    "saliency/rows": np.arange(4),
}
SHAPLEY = {
    "image_id": np.array([f"test/{row}" for row in range(4)]),
    "unit": np.array("probability"),
    "players": np.array(["legs", "wheels"]),
    "values": RNG.normal(size=(4, 2)),
    "base": np.full(4, 0.3),
    "output": np.full(4, 0.6),
    "interactions": RNG.normal(size=(4, 2, 2)),
    "concepts": np.array([[0.2, 0.8, 0.9, 0.1]] * 4),
    "concept_value": np.array(["two", "four", "no", "yes"]),
    "concept_player": np.array([0, 0, 1, 1]),
}
EXAMPLES = pd.DataFrame(
    {
        "image_id": SHAPLEY["image_id"],
        "label": ["cat", "dog", "cat", "ship"],
        "predicted": ["dog", "ship", "cat", "ship"],
        "confidence": [0.61, 0.52, 0.93, 0.84],
        "correct": [False, False, True, True],
        "shown": True,
        "measured": True,
    }
)
EVIDENCE = {
    name: {"insertion_auc": ESTIMATE, "randomisation": ESTIMATE} for name in ("saliency", "random")
}
EXPLAINED = (EXAMPLES, {"pixels": PIXELS}, MAPS, EVIDENCE)


class Pictures:
    """An image table of three grey images."""

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame({"image_id": ["a", "b", "c"]})

    def pil(self, row: int) -> Image.Image:
        return Image.new("RGB", (4, 4), (row, row, row))


def with_interval(name: str, rows: int) -> dict[str, np.ndarray]:
    """Return columns of a value and its interval, the value's called `name`."""
    values = np.linspace(0.3, 0.9, rows)
    prefix = "" if name in ("accuracy", "recall") else f"{name}_"
    return {name: values, f"{prefix}low": values - 0.1, f"{prefix}high": values + 0.1}


def answer_maps() -> Figure:
    answers = {
        "method": np.array("saliency"),
        "subtasks": np.array(["legs"]),
        "all": np.array(7),
        "maps": MAPS["saliency"][:, None],
        "answers": np.full((4, 1), "four"),
        "probabilities": np.full((4, 1), 0.8),
        "right": np.array([[True], [False], [True], [True]]),
    }
    return plot_answer_maps(EXAMPLES, {"pixels": PIXELS}, answers, EVIDENCE)


def comparison() -> Figure:
    table = pd.DataFrame({"variant": NAMES, "verdict": ["lower", None, "unresolved"]})
    columns = with_interval("accuracy", 3) | with_interval("difference", 3)
    return comparison_figure(table.assign(**columns), "variant", "dog")


def recall() -> Figure:
    return plot_class_recall(
        pd.DataFrame({"class": NAMES, "n": 5}).assign(**with_interval("recall", 3))
    )


def confused_pairs() -> Figure:
    pairs = pd.DataFrame({"true": NAMES[:2], "predicted": NAMES[1:], "count": 2, "fraction": 0.5})
    return confused_pairs_figure(pairs.assign(examples=json.dumps(["b", "c"])), Pictures())


def reliability() -> Figure:
    confidence = np.array([0.5, 0.9])
    curve = ReliabilityCurve(confidence, confidence - 0.1, np.array([0.25, 0.75]))
    return reliability_figure({f"head {index}": (curve, curve) for index in range(6)})


def interventions() -> Figure:
    curves = ("intervention/uncertainty", "intervention/random", "known_concepts")
    step = {**ESTIMATE, "added": "legs"}
    return plot_interventions({f"{name}/{k:02d}": step for name in curves for k in range(4)})


def risk_history() -> Figure:
    losses = ("loss", "bce", "ranking", "patch")
    measures = ("gap", "auroc", "auprc", "iou", "pointing_game")
    log = pd.DataFrame({f"validation_{name}": [0.5, 0.4] for name in losses + measures})
    return plot_risk_history(log.assign(epoch=[1, 2], train_loss=1.0, train_gap=[1.0, 2.0]))


def risk_localisation() -> Figure:
    endings = ("", "_activation", "_grad_cam", "_grad_cam_own", "_centre")
    return plot_localisation(
        {f"{name}{end}": ESTIMATE for name in ("pointing_game", "iou") for end in endings}
    )


def robustness() -> Figure:
    table = pd.DataFrame({"perturbation": ["clean", "jpeg", "jpeg", "pgd"], "n": 40})
    table = table.assign(strength=[0, 80, 5, 2], unit=["", "quality", "quality", "1/255"])
    names = ("accuracy", "confidence", "ece")
    return plot_robustness(
        table.assign(**{k: v for n in names for k, v in with_interval(n, 4).items()})
    )


def history() -> Figure:
    log = pd.DataFrame({"epoch": [1, 2, 3], "phase": ["head", "head", "full"]})
    columns = ("train_loss", "validation_loss", "validation_accuracy")
    return plot_training_history(log.assign(**{name: [0.9, 0.5, 0.4] for name in columns}))


def convergence() -> Figure:
    curves = [
        {
            "architecture": architecture, "strategy": "full", "replicate": replicate,
            "epoch": epoch, "seconds": 10 * epoch, "images_seen": 100 * epoch,
            "validation_accuracy": 0.2 * epoch + 0.1 * replicate,
        }
        for architecture in ("resnet18", "resnet50") for replicate in (0, 1) for epoch in (1, 2)
    ]  # fmt: skip
    return convergence_figure(pd.DataFrame(curves))


def interpolation() -> Figure:
    table = pd.DataFrame({"interpolation": ["bilinear", "none"]} | with_interval("accuracy", 2))
    frequency = {"high_frequency_fraction": [0.1, 0.3]} | with_interval("high_frequency", 2)
    return plot_interpolation(table.assign(**frequency))


def mistakes() -> Figure:
    near = pd.DataFrame({"image_id": ["test/0"] * 2, "same_class": [True, False], "rank": 1})
    near = near.assign(neighbour_id="train/7", label="dog", cosine=0.9, shared_concepts="legs")
    thumbnails = {"train/7": np.full((6, 9, 3), 7, np.uint8)}
    return mistakes_figure(*EXPLAINED, SHAPLEY, near, thumbnails)


def risk_ablation() -> Figure:
    table = pd.DataFrame({"variant": NAMES} | with_interval("iou", 3) | with_interval("auroc", 3))
    return risk_ablation_figure(table, ["iou", "auroc"])


HEATED = Heated(PIXELS[0], RNG.normal(size=(8, 8)), "a\nP = 0.5")
SAMPLES = pd.DataFrame({"label": NAMES * 4, "split": ["train", "validation", "test"] * 4})

FIGURES: dict[Callable[..., Figure], Callable[[], Figure]] = {
    plot_class_balance: partial(plot_class_balance, SAMPLES),
    plot_class_recall: recall,
    comparison_figure: comparison,
    confused_pairs_figure: confused_pairs,
    confusion_matrix_figure: partial(confusion_matrix_figure, 5 * np.eye(3, dtype=int) + 1, NAMES),
    convergence_figure: convergence,
    explanation_views_figure: partial(
        explanation_views_figure, *EXPLAINED, {"pets": (("cat",), ("dog", "ship"))}, SHAPLEY
    ),
    plot_interpolation: interpolation,
    mean_images_figure: partial(
        mean_images_figure, {name: MeanImage(RNG.random((8, 8, 3)), 5) for name in NAMES}, NAMES
    ),
    message_figure: partial(message_figure, "There is nothing to show."),
    mistakes_figure: mistakes,
    new_figure: partial(new_figure, 3, 2),
    plot_answer_maps: answer_maps,
    plot_explanation_gallery: partial(plot_explanation_gallery, *EXPLAINED),
    plot_interactions: partial(plot_interactions, SHAPLEY),
    plot_interventions: interventions,
    plot_explanation_evaluation: partial(plot_explanation_evaluation, EVIDENCE, MAPS),
    plot_robustness: robustness,
    plot_shapley_beeswarm: partial(plot_shapley_beeswarm, SHAPLEY),
    plot_shapley_global: partial(plot_shapley_global, SHAPLEY),
    plot_shapley_images: partial(plot_shapley_images, EXAMPLES, {"pixels": PIXELS}, SHAPLEY),
    plot_shapley_mistake: partial(plot_shapley_mistake, EXAMPLES, SHAPLEY),
    plot_shapley_right: partial(plot_shapley_right, EXAMPLES, SHAPLEY),
    plot_training_history: history,
    reliability_figure: reliability,
    risk_ablation_figure: risk_ablation,
    risk_curves_figure: partial(
        risk_curves_figure, {"road": (np.arange(9.0), np.arange(9) % 3 > 0)}
    ),
    risk_gallery_figure: partial(risk_gallery_figure, "Risk", {"road": [HEATED] * 3}, Scale(9.0)),
    plot_risk_history: risk_history,
    plot_localisation: risk_localisation,
}


def plotting_functions() -> Iterator[Callable[..., Figure]]:
    """Yield every public function of `glasshead.reporting` that returns a figure."""
    for module in pkgutil.iter_modules(glasshead.reporting.__path__):
        imported = importlib.import_module(f"glasshead.reporting.{module.name}")
        for name, function in inspect.getmembers(imported, inspect.isfunction):
            is_own = function.__module__ == imported.__name__ and not name.startswith("_")
            if is_own and function.__annotations__.get("return") is Figure:
                yield function


def test_every_plotting_function_is_among_them():
    assert set(FIGURES) == set(plotting_functions())


@pytest.mark.parametrize("function", FIGURES, ids=lambda function: function.__name__)
def test_it_is_the_same_picture_whatever_else_lies_in_memory(function, tmp_path: Path):
    rng = np.random.default_rng(1)
    dataset = AtomicFigure(filepath=str(tmp_path / "figure.png"), dpi=40)
    digests, held = set(), []
    for _ in range(TIMES):
        held.append([object() for _ in range(rng.integers(20_000))])
        held.append(new_figure(*rng.uniform(1, 3, 2)).subplots())
        del held[rng.integers(len(held))]
        dataset.save(FIGURES[function]())
        digests.add(hashlib.sha256(dataset.load()).hexdigest())
    assert len(digests) == 1
