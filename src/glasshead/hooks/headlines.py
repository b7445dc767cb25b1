"""What MLflow's tables show: at most 30 metrics a run and the parameters that people sort runs by.

Everything else lies in the files that a run logs as artifacts. What is not named here goes to no table.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

LIMIT = 30  # metrics of one run, charts of trainings included

METRICS = frozenset(
    {
        "accuracy",
        "macro_f1",
        "nll",
        "brier",
        "ece",
        "ece_uncalibrated",
        "ece_consistency_95",
        "temperature",
        "coverage",
        "selective_risk",
        # Baselines, and other ways to read the same network.
        "accuracy_majority",
        "accuracy_linear_probe",
        "accuracy_zero_shot",
        "accuracy_hard_concepts",
        "accuracy_random_concepts",
        "accuracy_tta",
        "intervention/uncertainty/mean",
        "intervention/random/mean",
        # A risk and its maps, each measure with its baselines.
        "auroc",
        "auprc",
        "gap",
        "pointing_game",
        "pointing_game_centre",
        "pointing_game_grad_cam",
        "iou",
        "iou_centre",
        "iou_grad_cam",
        "embed/encoded",
        "embed/cached",
        "embed/images_per_second",
        "onnx/agreement",
        "onnx_int8/accuracy_cost",
        "program/agreement",
        "scenes/zero_shot_accuracy",
        "scenes/linear_probe_accuracy",
    }
)
WITH_INTERVAL = ("accuracy", "ece")  # as accuracy_low and accuracy_high
CURVES = {  # of a training history, by the column that counts
    "step": ("loss", "gradient_norm"),
    "epoch": (
        "train_loss",
        "validation_loss",
        "validation_accuracy",
        "validation_gap",
        "learning_rate",
    ),
}
PARAMETERS = frozenset({"seed", "ingest.source", "preprocess.taxonomy", "backbone.name"})
ENDINGS = (  # of the names of parameters that trainings share
    "risks",
    "members",
    "architecture",
    "pretrained",
    "strategy",
    "interpolation",
    "pooling",
    "image_size",
    "width",
    "hidden",
    "mode",
    "training.epochs",
    "training.steps",
    "training.batch_size",
    "optimiser.name",
    "learning_rate",
    "weight_decay",
    "test_time_augmentation",
)


def headline_metrics(results: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield name and value of the finite numbers among nested `results` that are headlines."""
    for name, value in _numbers(results):
        estimate, _, bound = name.rpartition("/")
        if name in METRICS:
            yield name, value
        elif estimate in WITH_INTERVAL and bound in ("low", "high"):
            yield f"{estimate}_{bound}", value


def headline_parameters(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the value, as text, of those of the nested `parameters` that are headlines."""
    for name, value in leaves(parameters):
        if name in PARAMETERS or name.endswith(tuple(f".{ending}" for ending in ENDINGS)):
            yield name, str(value)


def leaves(tree: Mapping[str, Any], separator: str = ".") -> Iterator[tuple[str, Any]]:
    """Yield the path of each leaf of a nested mapping, and what it holds."""
    for key, node in tree.items():
        if isinstance(node, Mapping):
            for name, value in leaves(node, separator):
                yield f"{key}{separator}{name}", value
        else:
            yield key, node


def _numbers(results: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield path and value of each finite number; the value of an estimate has the path of the estimate."""
    for path, value in leaves(results, "/"):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and math.isfinite(value):
            yield path.removesuffix("/value"), float(value)
