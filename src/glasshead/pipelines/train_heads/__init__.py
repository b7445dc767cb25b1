"""Train the concept bottleneck on cached embeddings, and the baselines that keep it honest."""

from glasshead.pipelines.train_heads.pipeline import create_pipeline

__all__ = ["create_pipeline"]
