"""Compare strategies of fine-tuning, depths of network and interpolations, each with some seeds."""

from glasshead.pipelines.transfer_comparison.pipeline import create_pipeline
from glasshead.pipelines.transfer_comparison.variants import PARENTS, VARIANTS

__all__ = ["PARENTS", "VARIANTS", "create_pipeline"]
