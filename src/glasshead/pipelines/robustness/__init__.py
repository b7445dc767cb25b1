"""Measure a classifier on test images with noise, blur, compression and adversarial changes."""

from glasshead.pipelines.robustness.pipeline import create_pipeline

__all__ = ["create_pipeline"]
