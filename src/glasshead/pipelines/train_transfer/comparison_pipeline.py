"""The graph of `transfer_comparison`: only `fitting_samples` reaches a fit."""

from kedro.pipeline import Node, Pipeline

from glasshead.pipelines.train_transfer.comparison_nodes import (
    compare_recipes,
    fit_variants,
    plot_comparison,
    plot_interpolation,
    pretrain_parents,
    study_interpolation,
)
from glasshead.templates import comparison_on_pixels


def comparison_pipeline() -> Pipeline:
    """images, samples, transfer_parents → variants, histories, runs, two tables and their figures."""
    nodes = [
        Node(
            pretrain_parents,
            ["transfer_parents", "variants", "params:transfer_comparison", "params:seed"],
            ["parents", "parent_histories"],
            name="pretrain_parents",
        ),
        Node(
            fit_variants,
            [
                "images",
                "fitting_samples",
                "parents",
                "variants",
                "params:transfer_comparison",
                "params:seed",
            ],
            "histories",
            name="fit_variants",
        ),
        Node(compare_recipes, "runs", "comparison", name="compare_recipes"),
        Node(plot_comparison, "histories", "comparison_figure", name="plot_comparison"),
        Node(
            study_interpolation,
            ["comparison", "variants", "images", "samples"],
            "interpolation",
            name="study_interpolation",
        ),
        Node(
            plot_interpolation,
            "interpolation",
            "interpolation_figure",
            name="plot_interpolation",
        ),
    ]
    return comparison_on_pixels(nodes, "params:transfer_comparison")
