"""The graph of `ensemble`: it trains nothing and reads its calibrated members by name."""

from kedro.pipeline import Pipeline

from glasshead.deferred import deferred
from glasshead.templates import step, training_on_pixels

with deferred(__name__):
    from glasshead.pipelines.ensemble.nodes import average_classifiers


def create_pipeline() -> Pipeline:
    """classifiers, images, samples → uncalibrated, logits, baselines."""
    average = step(
        average_classifiers, "classifiers images fitting_samples params:ensemble", "uncalibrated"
    )
    return training_on_pixels(average, "params:ensemble")
