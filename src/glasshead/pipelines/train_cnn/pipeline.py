"""The graphs of `train_cnn`, a template, and `cnn_ablation`: fits get only `fitting_samples`."""

from kedro.pipeline import Pipeline

from glasshead.deferred import deferred
from glasshead.templates import comparison_on_pixels, step, training_on_pixels

with deferred(__name__):
    from glasshead.pipelines.train_cnn.ablation_nodes import (
        compare_augmentations,
        fit_variants,
        plot_ablation,
    )
    from glasshead.pipelines.train_cnn.nodes import fit_cnn, predict_baselines


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


def ablation_pipeline() -> Pipeline:
    """images, samples → variants, histories, runs, ablation and its figure."""
    nodes = [
        step(
            fit_variants,
            "images fitting_samples variants params:cnn_ablation params:seed",
            "histories",
        ),
        step(compare_augmentations, "runs", "ablation"),
        step(plot_ablation, "ablation", "ablation_figure"),
    ]
    return comparison_on_pixels(nodes, "params:cnn_ablation")
