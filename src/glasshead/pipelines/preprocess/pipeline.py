"""The graph of `preprocess`."""

from kedro.pipeline import Node, Pipeline

from glasshead.pipelines.preprocess.nodes import (
    build_samples,
    check_samples,
    choose_taxonomy,
    plot_class_balance,
    plot_mean_images,
    report_duplicates,
    resolve_processor,
)


def create_pipeline() -> Pipeline:
    """images → samples and taxonomy, duplicates, two figures, and the processor's settings."""
    return Pipeline(
        [
            Node(
                choose_taxonomy,
                ["params:preprocess", "taxonomies", "images"],
                "taxonomy",
                name="choose_taxonomy",
            ),
            Node(
                build_samples,
                ["images", "taxonomy", "params:preprocess"],
                "samples",
                name="build_samples",
            ),
            Node(check_samples, ["images", "samples", "taxonomy"], None, name="check_samples"),
            Node(report_duplicates, "samples", "duplicates", name="report_duplicates"),
            Node(plot_class_balance, "samples", "class_balance_figure", name="plot_class_balance"),
            Node(
                plot_mean_images,
                ["images", "samples", "params:preprocess"],
                "mean_images_figure",
                name="plot_mean_images",
            ),
            Node(resolve_processor, "params:backbone", "processor", name="resolve_processor"),
        ]
    )
