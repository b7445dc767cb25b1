"""The graph of `train_heads`: fits get only `fitting_samples`."""

from kedro.pipeline import Pipeline

from glasshead.deferred import deferred
from glasshead.templates import HISTORY, SELECTION, step

with deferred(__name__):
    from glasshead.pipelines.train_heads.nodes import fit_heads, predict_baselines, predict_logits


def create_pipeline() -> Pipeline:
    """embeddings, samples, images, taxonomy → uncalibrated, training_history and its figure, logits, baselines."""
    return Pipeline(
        [
            SELECTION,
            step(
                fit_heads,
                "embeddings fitting_samples images taxonomy params:backbone params:train_heads params:seed",
                "uncalibrated training_history",
            ),
            step(predict_logits, "uncalibrated embeddings samples", "logits"),
            step(
                predict_baselines,
                "uncalibrated embeddings fitting_samples taxonomy params:train_heads params:seed",
                "baselines",
            ),
            HISTORY,
        ]
    )
