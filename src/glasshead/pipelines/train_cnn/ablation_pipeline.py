"""The graph of `cnn_ablation`: only `fitting_samples` reaches a fit."""

from kedro.pipeline import Pipeline

from glasshead.pipelines.train_cnn.ablation_nodes import (
    compare_augmentations,
    fit_variants,
    plot_ablation,
)
from glasshead.templates import comparison_on_pixels, step


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
