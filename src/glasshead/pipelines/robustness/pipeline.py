"""The `robustness` pipeline: a template, instantiated once per classifier."""

from kedro.pipeline import Node, Pipeline

from glasshead.pipelines.robustness.nodes import measure_robustness
from glasshead.reporting.robustness_figure import plot_robustness


def create_pipeline() -> Pipeline:
    """classifier, images, samples → a table of accuracy and calibration under changes, and its figure."""
    return Pipeline(
        [
            Node(
                measure_robustness,
                ["classifier", "images", "samples", "params:robustness", "params:seed"],
                "robustness",
                name="measure_robustness",
            ),
            Node(plot_robustness, "robustness", "robustness_figure", name="plot_robustness"),
        ]
    )
