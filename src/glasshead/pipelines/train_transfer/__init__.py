"""Fine-tune a pretrained network, which a run may first pretrain itself."""

from glasshead.pipelines.train_transfer.pipeline import create_pipeline, parent_pipeline

__all__ = ["create_pipeline", "parent_pipeline"]
