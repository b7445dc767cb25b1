"""The graph of `train_cnn`, a template: only `fitting_samples` reaches a fit."""

from kedro.pipeline import Node, Pipeline

from glasshead.pipelines.train_cnn.nodes import fit_cnn, predict_controls
from glasshead.templates import training_on_pixels


def create_pipeline() -> Pipeline:
    """images, samples → uncalibrated, audit_log, step_log, logits, controls, training_history_figure."""
    fit = Node(
        fit_cnn,
        ["images", "fitting_samples", "checkpoints", "params:train_cnn", "params:seed"],
        ["uncalibrated", "audit_log", "step_log"],
        name="fit_cnn",
    )
    controls = Node(
        predict_controls,
        ["uncalibrated", "images", "fitting_samples", "params:train_cnn"],
        "controls",
        name="predict_controls",
    )
    return training_on_pixels(fit, "params:train_cnn", controls)
