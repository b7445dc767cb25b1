"""Train a convolutional network from scratch."""

from glasshead.pipelines.train_cnn.pipeline import create_pipeline

__all__ = ["create_pipeline"]
