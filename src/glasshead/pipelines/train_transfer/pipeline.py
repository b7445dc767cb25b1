"""The graph of `train_transfer`, a template: only `fitting_samples` reaches a fit."""

from kedro.pipeline import Pipeline

from glasshead.pipelines.train_transfer.nodes import fit_transfer
from glasshead.pipelines.train_transfer.parent import pretrain_parent
from glasshead.templates import step, training_on_pixels


def create_pipeline() -> Pipeline:
    """images, samples, transfer_parents → parent, its history, and what a training on pixels leaves."""
    parent = step(
        pretrain_parent,
        "transfer_parents params:train_transfer params:seed",
        "parent parent_training_history",
    )
    fit = step(
        fit_transfer,
        "images fitting_samples parent checkpoints params:train_transfer params:seed",
        "uncalibrated training_history step_log",
    )
    return Pipeline([parent]) + training_on_pixels(fit, "params:train_transfer")
