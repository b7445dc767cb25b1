"""Train nano-clip contrastively on scenes, and on a folder of photographs if one is given."""

from glasshead.pipelines.pretrain.pipeline import create_pipeline

__all__ = ["create_pipeline"]
