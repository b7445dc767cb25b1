"""The graph of `train_heads`: only `fitting_samples` reaches a fit."""

from kedro.pipeline import Node, Pipeline

from glasshead.pipelines.train_heads.nodes import (
    fit_heads,
    predict_baselines,
    predict_logits,
)
from glasshead.templates import HISTORY, SELECTION


def create_pipeline() -> Pipeline:
    """embeddings, samples, images, taxonomy → uncalibrated, training_history and its figure, logits, baselines."""
    return Pipeline(
        [
            SELECTION,
            Node(
                fit_heads,
                [
                    "embeddings",
                    "fitting_samples",
                    "images",
                    "taxonomy",
                    "params:backbone",
                    "params:train_heads",
                    "params:seed",
                ],
                ["uncalibrated", "training_history"],
                name="fit_heads",
            ),
            Node(
                predict_logits,
                ["uncalibrated", "embeddings", "samples"],
                "logits",
                name="predict_logits",
            ),
            Node(
                predict_baselines,
                [
                    "uncalibrated",
                    "embeddings",
                    "fitting_samples",
                    "taxonomy",
                    "params:train_heads",
                    "params:seed",
                ],
                "baselines",
                name="predict_baselines",
            ),
            HISTORY,
        ]
    )
