"""Average several Classifiers into one."""

from glasshead.pipelines.ensemble.pipeline import create_pipeline

__all__ = ["create_pipeline"]
