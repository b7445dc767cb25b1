"""What noise, blur, compression and adversaries do to a classifier: on test images alone."""

from glasshead.pipelines.robustness.pipeline import create_pipeline

__all__ = ["create_pipeline"]
