"""The graph of `preprocess`."""

from kedro.pipeline import Pipeline

from glasshead.deferred import deferred
from glasshead.templates import steps

with deferred(__name__):
    from glasshead.pipelines.preprocess.nodes import (
        build_samples,
        check_samples,
        choose_taxonomy,
        plot_mean_images,
        report_duplicates,
        resolve_processor,
    )
    from glasshead.reporting.data_figures import plot_class_balance


def create_pipeline() -> Pipeline:
    """images → samples and taxonomy, duplicates, two figures, and the processor's settings."""
    return steps(
        (choose_taxonomy, "params:preprocess taxonomies images", "taxonomy"),
        (build_samples, "images taxonomy params:preprocess", "samples"),
        (check_samples, "images samples taxonomy", None),
        (report_duplicates, "samples", "duplicates"),
        (plot_class_balance, "samples", "class_balance_figure"),
        (plot_mean_images, "images samples params:preprocess", "mean_images_figure"),
        (resolve_processor, "params:backbone images", "processor"),
    )
