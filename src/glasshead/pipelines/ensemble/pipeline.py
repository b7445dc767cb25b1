"""The graph of `ensemble`: nothing is trained, and the calibrated members are read by name."""

from kedro.pipeline import Node, Pipeline

from glasshead.images.fitting import select_fitting_samples
from glasshead.models.inference import predict_majority
from glasshead.pipelines.ensemble.nodes import (
    average_classifiers,
    predict_logits,
)


def create_pipeline() -> Pipeline:
    """classifiers, images, samples → uncalibrated, logits, controls."""
    return Pipeline(
        [
            Node(
                select_fitting_samples,
                ["images", "samples"],
                "fitting_samples",
                name="select_fitting_samples",
            ),
            Node(
                average_classifiers,
                ["classifiers", "images", "fitting_samples", "params:ensemble"],
                "uncalibrated",
                name="average_classifiers",
            ),
            Node(
                predict_logits,
                ["uncalibrated", "images", "samples", "params:ensemble"],
                "logits",
                name="predict_logits",
            ),
            Node(
                predict_majority,
                ["images", "fitting_samples"],
                "controls",
                name="predict_majority",
            ),
        ]
    )
