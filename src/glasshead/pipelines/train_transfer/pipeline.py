"""The graphs of `train_transfer`, a template, and `transfer_comparison`: fits get only `fitting_samples`."""

from kedro.pipeline import Pipeline

from glasshead.deferred import deferred
from glasshead.templates import comparison_on_pixels, step, training_on_pixels

with deferred(__name__):
    from glasshead.pipelines.train_transfer.comparison_nodes import (
        compare_recipes,
        fit_variants,
        plot_comparison,
        pretrain_parents,
        study_interpolation,
    )
    from glasshead.pipelines.train_transfer.nodes import fit_transfer, pretrain_parent
    from glasshead.reporting.training_figures import plot_interpolation


def create_pipeline() -> Pipeline:
    """images, samples, transfer_parents → parent, its history, and the outputs of any training on pixels."""
    parent = step(
        pretrain_parent,
        "transfer_parents images params:train_transfer params:seed",
        "parent parent_training_history",
    )
    fit = step(
        fit_transfer,
        "images fitting_samples parent checkpoints params:train_transfer params:seed",
        "uncalibrated training_history step_log",
    )
    return Pipeline([parent]) + training_on_pixels(fit, "params:train_transfer")


def comparison_pipeline() -> Pipeline:
    """images, samples, transfer_parents → variants, histories, runs, two tables and their figures."""
    nodes = [
        step(
            pretrain_parents,
            "transfer_parents variants params:transfer_comparison params:seed",
            "parents parent_histories",
        ),
        step(
            fit_variants,
            "images fitting_samples parents variants params:transfer_comparison params:seed",
            "histories",
        ),
        step(compare_recipes, "runs", "comparison"),
        step(plot_comparison, "histories", "comparison_figure"),
        step(study_interpolation, "comparison variants images samples", "interpolation"),
        step(plot_interpolation, "interpolation", "interpolation_figure"),
    ]
    return comparison_on_pixels(nodes, "params:transfer_comparison")
