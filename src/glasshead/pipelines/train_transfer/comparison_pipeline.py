"""The graph of `transfer_comparison`: only `fitting_samples` reaches a fit."""

from kedro.pipeline import Pipeline

from glasshead.pipelines.train_transfer.comparison_nodes import (
    compare_recipes,
    fit_variants,
    plot_comparison,
    plot_interpolation,
    pretrain_parents,
    study_interpolation,
)
from glasshead.templates import comparison_on_pixels, step


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
