"""The `explain` pipeline: a template, instantiated once per classifier."""

from kedro.pipeline import Node, Pipeline

from glasshead.pipelines.explain.nodes import (
    choose_examples,
    explain_concepts,
    explain_pixels,
    measure_explanations,
    prepare_examples,
)
from glasshead.reporting.explanation_figures import (
    plot_attribution_maps,
    plot_shapley_global,
    plot_shapley_images,
)


def create_pipeline() -> Pipeline:
    """classifier, predictions, images, samples, embeddings → explanations, their measures and figures."""
    return Pipeline(
        [
            Node(
                choose_examples,
                ["images", "samples", "predictions", "params:explain", "params:seed"],
                "examples",
                name="choose_examples",
            ),
            Node(
                prepare_examples,
                ["classifier", "images", "examples"],
                "example_images",
                name="prepare_examples",
            ),
            Node(
                explain_concepts,
                [
                    "classifier",
                    "embeddings",
                    "samples",
                    "examples",
                    "params:explain",
                    "params:seed",
                ],
                "shapley",
                name="explain_concepts",
            ),
            Node(
                explain_pixels,
                ["classifier", "example_images", "examples", "params:explain"],
                "attributions",
                name="explain_pixels",
            ),
            Node(
                measure_explanations,
                ["shapley", "attributions", "params:explain", "params:seed"],
                "explanations",
                name="measure_explanations",
            ),
            Node(
                plot_shapley_images,
                ["examples", "example_images", "shapley"],
                "shapley_images_figure",
                name="plot_shapley_images",
            ),
            Node(
                plot_shapley_global,
                "shapley",
                "shapley_global_figure",
                name="plot_shapley_global",
            ),
            Node(
                plot_attribution_maps,
                ["examples", "example_images", "attributions"],
                "attribution_map_figure",
                name="plot_attribution_maps",
            ),
        ]
    )
