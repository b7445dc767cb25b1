"""Compare augmentations: a training from scratch for each and for each of some seeds."""

from glasshead.pipelines.cnn_ablation.pipeline import VARIANTS, create_pipeline

__all__ = ["VARIANTS", "create_pipeline"]
