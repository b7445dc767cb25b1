"""Explain a classifier's decisions on test images by concepts and by pixels."""

from glasshead.pipelines.explain.pipeline import create_pipeline

__all__ = ["create_pipeline"]
