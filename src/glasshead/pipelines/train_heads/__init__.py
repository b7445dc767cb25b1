"""Train the concept bottleneck on cached embeddings, and its baselines."""

from glasshead.pipelines.train_heads.pipeline import create_pipeline

__all__ = ["create_pipeline"]
