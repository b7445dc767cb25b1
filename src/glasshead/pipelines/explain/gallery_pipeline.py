"""The part of `explain` that shows explanations: the gallery, the mistakes, views of two sides."""

from kedro.pipeline import Pipeline

from glasshead.pipelines.explain.gallery_nodes import (
    find_neighbours,
    plot_explanation_views,
    plot_mistakes,
)
from glasshead.reporting.gallery_figure import plot_explanation_gallery
from glasshead.templates import steps


def gallery_pipeline(*, concepts: bool) -> Pipeline:
    """examples, their images, attributions and their measures → figures; with `concepts` neighbours too."""
    explained = ["examples", "example_images", "attributions", "explanations"]
    return steps(
        (plot_explanation_gallery, explained, "explanation_gallery_figure"),
        (
            plot_mistakes,
            [*explained, "images", *(["shapley", "neighbours"] if concepts else [])],
            "mistakes_figure",
        ),
        (
            plot_explanation_views,
            [*explained, "images", "params:explain", *(["shapley"] if concepts else [])],
            "explanation_views_figure",
        ),
    ) + (neighbours_pipeline() if concepts else Pipeline([]))


def neighbours_pipeline() -> Pipeline:
    """Return the node for classifiers on `embeddings`."""
    return steps(
        (find_neighbours, "classifier embeddings samples examples params:explain", "neighbours"),
    )
