"""The `explain` pipeline: a template, instantiated once per classifier."""

from kedro.pipeline import Pipeline

from glasshead.deferred import deferred
from glasshead.templates import steps

with deferred(__name__):
    from glasshead.pipelines.explain.concept_nodes import (
        explain_answers,
        explain_concepts,
        intervene,
    )
    from glasshead.pipelines.explain.gallery_nodes import (
        find_neighbours,
        plot_explanation_views,
        plot_mistakes,
    )
    from glasshead.pipelines.explain.nodes import (
        choose_examples,
        explain_pixels,
        measure_explanations,
        prepare_examples,
    )
    from glasshead.pipelines.explain.plan_nodes import plan_explanations
    from glasshead.reporting.concept_figures import (
        plot_interactions,
        plot_interventions,
        plot_shapley_beeswarm,
        plot_shapley_global,
        plot_shapley_images,
        plot_shapley_mistake,
        plot_shapley_right,
    )
    from glasshead.reporting.explanation_evaluation_figure import plot_explanation_evaluation
    from glasshead.reporting.gallery_figure import plot_answer_maps, plot_explanation_gallery


def create_pipeline(*, concepts: bool) -> Pipeline:
    """classifier, predictions, images, samples → pixel explanations, their measures and figures.

    With `concepts` (for bottlenecks, which read `embeddings`), also Shapley values of the concepts.
    """
    whole = pixels_pipeline(measured=["shapley"] if concepts else [])
    whole += gallery_pipeline(concepts=concepts)
    return whole + concepts_pipeline() + answers_pipeline() if concepts else whole


def pixels_pipeline(measured: list[str]) -> Pipeline:
    """Return the nodes for any classifier; `measured` are further inputs of the node that measures explanations."""
    explained = ["classifier", "example_images", "examples", "attributions"]
    return steps(
        (plan_explanations, "classifier params:explain", "explanation_plan"),
        (
            choose_examples,
            "images samples predictions params:explain explanation_plan params:seed",
            "examples",
        ),
        (prepare_examples, "classifier images examples planted", "example_images"),
        (
            explain_pixels,
            "classifier example_images examples params:explain explanation_plan params:seed",
            "attributions",
        ),
        (
            measure_explanations,
            [*explained, "params:explain", "explanation_plan", "params:seed", *measured],
            "explanations",
        ),
        (plot_explanation_evaluation, "explanations attributions", "explanation_report_figure"),
    )


def concepts_pipeline() -> Pipeline:
    """Return the nodes that explain a bottleneck by its concepts."""
    return steps(
        (
            explain_concepts,
            "classifier embeddings samples examples params:explain params:seed",
            "shapley",
        ),
        (
            intervene,
            "classifier embeddings samples shapley params:explain params:seed",
            "interventions flips",
        ),
        (find_neighbours, "classifier embeddings samples examples params:explain", "neighbours"),
        (plot_shapley_images, "examples example_images shapley", "shapley_images_figure"),
        (plot_shapley_global, "shapley", "shapley_global_figure"),
        (plot_shapley_beeswarm, "shapley", "shapley_beeswarm_figure"),
        (plot_shapley_mistake, "examples shapley", "shapley_mistake_figure"),
        (plot_shapley_right, "examples shapley", "shapley_right_figure"),
        (plot_interactions, "shapley", "interactions_figure"),
        (plot_interventions, "interventions", "interventions_figure"),
    )


def answers_pipeline() -> Pipeline:
    """Return the nodes that explain a bottleneck's answers to its concepts by pixels."""
    return steps(
        (
            explain_answers,
            "classifier example_images examples samples shapley params:explain params:seed",
            "answer_maps",
        ),
        (
            plot_answer_maps,
            "examples example_images answer_maps explanations",
            "answer_maps_figure",
        ),
    )


def gallery_pipeline(*, concepts: bool) -> Pipeline:
    """examples, their images, attributions and measures → figures; with `concepts`, also of neighbours."""
    explained = ["examples", "example_images", "attributions", "explanations"]
    shapley, neighbours = (["shapley"], ["neighbours"]) if concepts else ([], [])
    return steps(
        (plot_explanation_gallery, explained, "explanation_gallery_figure"),
        (plot_mistakes, [*explained, "images", *shapley, *neighbours], "mistakes_figure"),
        (
            plot_explanation_views,
            [*explained, "images", "params:explain", *shapley],
            "explanation_views_figure",
        ),
    )
