"""The graph of `external`, a template: it reads a classifier from outside instead of training one."""

from kedro.pipeline import Pipeline

from glasshead.deferred import deferred
from glasshead.templates import steps

with deferred(__name__):
    from glasshead.pipelines.external.nodes import (
        check_contract,
        predict_external,
        predict_most_frequent,
        read_external,
    )


def create_pipeline() -> Pipeline:
    """images, samples → uncalibrated, preflight, logits, baselines."""
    return steps(
        (read_external, "images samples params:external", "uncalibrated"),
        (
            check_contract,
            "uncalibrated images samples params:external params:seed",
            "preflight",
        ),
        (
            predict_external,
            "uncalibrated images samples preflight params:external",
            "logits",
        ),
        (predict_most_frequent, "images samples", "baselines"),
    )
