"""The graph of `train_cnn`, a template: only `fitting_samples` reaches a fit."""

from kedro.pipeline import Pipeline

from glasshead.pipelines.train_cnn.nodes import fit_cnn, predict_baselines
from glasshead.templates import step, training_on_pixels


def create_pipeline() -> Pipeline:
    """images, samples → uncalibrated, training_history, step_log, logits, baselines, training_history_figure."""
    fit = step(
        fit_cnn,
        "images fitting_samples checkpoints params:train_cnn params:seed",
        "uncalibrated training_history step_log",
    )
    baselines = step(
        predict_baselines, "uncalibrated images fitting_samples params:train_cnn", "baselines"
    )
    return training_on_pixels(fit, "params:train_cnn", baselines)
