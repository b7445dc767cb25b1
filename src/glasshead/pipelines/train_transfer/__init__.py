"""Fine-tune a pretrained network, which the run may pretrain first, and compare strategies."""

from glasshead.pipelines.train_transfer.pipeline import comparison_pipeline, create_pipeline

__all__ = ["comparison_pipeline", "create_pipeline"]
