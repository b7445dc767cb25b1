"""Train a convolutional network from scratch, and compare augmentations in such trainings."""

from glasshead.pipelines.train_cnn.pipeline import ablation_pipeline, create_pipeline

__all__ = ["ablation_pipeline", "create_pipeline"]
