"""The graph of `cnn_ablation`: only `fitting_samples` reaches a fit."""

from kedro.pipeline import Node, Pipeline

from glasshead.images.fitting import select_fitting_samples
from glasshead.pipelines.train_cnn.ablation_nodes import (
    compare_augmentations,
    fit_variants,
    measure_variants,
    plot_ablation,
)


def ablation_pipeline() -> Pipeline:
    """images, samples → variants, histories, runs, ablation and its figure."""
    return Pipeline(
        [
            Node(
                select_fitting_samples,
                ["images", "samples"],
                "fitting_samples",
                name="select_fitting_samples",
            ),
            Node(
                fit_variants,
                ["images", "fitting_samples", "variants", "params:cnn_ablation", "params:seed"],
                "histories",
                name="fit_variants",
            ),
            Node(
                measure_variants,
                [
                    "images",
                    "samples",
                    "variants",
                    "histories",
                    "params:cnn_ablation",
                    "params:calibrate",
                    "params:evaluate",
                ],
                "runs",
                name="measure_variants",
            ),
            Node(compare_augmentations, "runs", "ablation", name="compare_augmentations"),
            Node(plot_ablation, "ablation", "ablation_figure", name="plot_ablation"),
        ]
    )
