"""Fine-tune a pretrained network, which a run may first pretrain itself, and compare ways of doing so."""

from glasshead.pipelines.train_transfer.comparison_pipeline import comparison_pipeline
from glasshead.pipelines.train_transfer.pipeline import create_pipeline

__all__ = ["comparison_pipeline", "create_pipeline"]
