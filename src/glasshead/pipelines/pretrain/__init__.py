"""Make nano-clip: contrastive training on scenes, and on photographs where a folder of them is given."""

from glasshead.pipelines.pretrain.pipeline import create_pipeline

__all__ = ["create_pipeline"]
