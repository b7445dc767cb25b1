"""The graph of `pretrain`. It writes to data/06_models; `make ship` then puts the weights into the package."""

from kedro.pipeline import Pipeline

from glasshead.deferred import deferred
from glasshead.templates import steps

with deferred(__name__):
    from glasshead.pipelines.pretrain.nodes import (
        collect_pairs,
        measure_nano_clip,
        train_nano_clip,
        write_nano_clip_card,
    )


def create_pipeline() -> Pipeline:
    """params → nano_clip, its training history, metrics and model card."""
    return steps(
        (collect_pairs, "params:pretrain params:seed", "pretrain_pairs"),
        (
            train_nano_clip,
            "pretrain_pairs params:pretrain params:seed",
            "nano_clip nano_clip_training_history nano_clip_run",
        ),
        (measure_nano_clip, "nano_clip pretrain_pairs", "nano_clip_metrics"),
        (
            write_nano_clip_card,
            "nano_clip nano_clip_metrics nano_clip_run params:pretrain",
            "nano_clip_model_card",
        ),
    )
