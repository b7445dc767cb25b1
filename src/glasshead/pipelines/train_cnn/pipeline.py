"""The graph of `train_cnn`, a template: only `fitting_samples` reaches a fit."""

from kedro.pipeline import Node, Pipeline

from glasshead.images.fitting import select_fitting_samples
from glasshead.pipelines.train_cnn.nodes import (
    fit_cnn,
    predict_controls,
    predict_logits,
)
from glasshead.reporting.training_figures import plot_training_history


def create_pipeline() -> Pipeline:
    """images, samples → uncalibrated, audit_log, step_log, logits, controls, training_history_figure."""
    return Pipeline(
        [
            Node(
                select_fitting_samples,
                ["images", "samples"],
                "fitting_samples",
                name="select_fitting_samples",
            ),
            Node(
                fit_cnn,
                ["images", "fitting_samples", "checkpoints", "params:train_cnn", "params:seed"],
                ["uncalibrated", "audit_log", "step_log"],
                name="fit_cnn",
            ),
            Node(
                predict_logits,
                ["uncalibrated", "images", "samples", "params:train_cnn"],
                "logits",
                name="predict_logits",
            ),
            Node(
                predict_controls,
                ["uncalibrated", "images", "fitting_samples", "params:train_cnn"],
                "controls",
                name="predict_controls",
            ),
            Node(
                plot_training_history,
                "audit_log",
                "training_history_figure",
                name="plot_training_history",
            ),
        ]
    )
