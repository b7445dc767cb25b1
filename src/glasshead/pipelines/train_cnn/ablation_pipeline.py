"""The graph of `cnn_ablation`: only `fitting_samples` reaches a fit."""

from kedro.pipeline import Node, Pipeline

from glasshead.pipelines.train_cnn.ablation_nodes import (
    compare_augmentations,
    fit_variants,
    plot_ablation,
)
from glasshead.templates import comparison_on_pixels


def ablation_pipeline() -> Pipeline:
    """images, samples → variants, histories, runs, ablation and its figure."""
    nodes = [
        Node(
            fit_variants,
            ["images", "fitting_samples", "variants", "params:cnn_ablation", "params:seed"],
            "histories",
            name="fit_variants",
        ),
        Node(compare_augmentations, "runs", "ablation", name="compare_augmentations"),
        Node(plot_ablation, "ablation", "ablation_figure", name="plot_ablation"),
    ]
    return comparison_on_pixels(nodes, "params:cnn_ablation")
