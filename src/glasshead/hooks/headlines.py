"""What MLflow's tables show: at most 30 metrics a run and the parameters that people sort runs by.

Everything else lies in the files that a run logs as artifacts. Metrics and parameters that are not named here appear in
no table.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

LIMIT = 30  # metrics of one run, including the curves of trainings

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
        # Baselines, and other predictions from the same network.
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
WITH_INTERVAL = ("accuracy", "ece")  # logged as accuracy, accuracy_low and accuracy_high
CURVES = {  # columns of a training history, by the column that counts the steps
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
ENDINGS = (  # ends of the names of parameters that trainings share
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
    """Yield name and value of each headline metric in nested `results` that is a finite number."""
    for name, value in _numbers(results):
        estimate, _, bound = name.rpartition("/")
        if name in METRICS:
            yield name, value
        elif estimate in WITH_INTERVAL and bound in ("low", "high"):
            yield f"{estimate}_{bound}", value


def headline_parameters(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield dotted name and value, as text, of each headline parameter in the nested `parameters`."""
    for name, value in leaves(parameters):
        if name in PARAMETERS or name.endswith(tuple(f".{ending}" for ending in ENDINGS)):
            yield name, str(value)


def leaves(tree: Mapping[str, Any], separator: str = ".") -> Iterator[tuple[str, Any]]:
    """Yield path and value of each leaf of a nested mapping."""
    for key, node in tree.items():
        if isinstance(node, Mapping):
            for name, value in leaves(node, separator):
                yield f"{key}{separator}{name}", value
        else:
            yield key, node


def _numbers(results: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield path and value of each finite number; the path of an estimate stands for its `value`."""
    for path, value in leaves(results, "/"):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and math.isfinite(value):
            yield path.removesuffix("/value"), float(value)
