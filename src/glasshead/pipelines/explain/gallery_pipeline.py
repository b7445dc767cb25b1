"""The part of `explain` that shows explanations: the gallery, the mistakes, views of two sides."""

from kedro.pipeline import Node, Pipeline

from glasshead.pipelines.explain.gallery_nodes import (
    find_neighbours,
    plot_explanation_views,
    plot_mistakes,
)
from glasshead.reporting.gallery_figure import plot_explanation_gallery


def gallery_pipeline(*, concepts: bool) -> Pipeline:
    """examples, their images, attributions and their measures → figures; with `concepts` neighbours too."""
    explained = ["examples", "example_images", "attributions", "explanations"]
    return Pipeline(
        [
            Node(
                plot_explanation_gallery,
                explained,
                "explanation_gallery_figure",
                name="plot_explanation_gallery",
            ),
            Node(
                plot_mistakes,
                [*explained, "images", *(["shapley", "neighbours"] if concepts else [])],
                "mistakes_figure",
                name="plot_mistakes",
            ),
            Node(
                plot_explanation_views,
                [*explained, "images", "params:explain", *(["shapley"] if concepts else [])],
                "explanation_views_figure",
                name="plot_explanation_views",
            ),
        ]
    ) + (neighbours_pipeline() if concepts else Pipeline([]))


def neighbours_pipeline() -> Pipeline:
    """Return the node for classifiers on `embeddings`."""
    return Pipeline(
        [
            Node(
                find_neighbours,
                ["classifier", "embeddings", "samples", "examples", "params:explain"],
                "neighbours",
                name="find_neighbours",
            )
        ]
    )
