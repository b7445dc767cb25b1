"""The graph of `ensemble`: nothing is trained, and the calibrated members are read by name."""

from kedro.pipeline import Node, Pipeline

from glasshead.pipelines.ensemble.nodes import average_classifiers
from glasshead.templates import training_on_pixels


def create_pipeline() -> Pipeline:
    """classifiers, images, samples → uncalibrated, logits, baselines."""
    average = Node(
        average_classifiers,
        ["classifiers", "images", "fitting_samples", "params:ensemble"],
        "uncalibrated",
        name="average_classifiers",
    )
    return training_on_pixels(average, "params:ensemble")
