"""The `robustness` pipeline: a template, instantiated once per classifier."""

from kedro.pipeline import Pipeline

from glasshead.deferred import deferred
from glasshead.templates import steps

with deferred(__name__):
    from glasshead.pipelines.robustness.nodes import measure_robustness
    from glasshead.reporting.robustness_figure import plot_robustness


def create_pipeline() -> Pipeline:
    """classifier, images, samples → a table of accuracy and calibration on changed images, and its figure."""
    return steps(
        (
            measure_robustness,
            "classifier images samples params:robustness params:seed",
            "robustness",
        ),
        (plot_robustness, "robustness", "robustness_figure"),
    )
