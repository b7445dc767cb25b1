"""Why the classifier decided as it did, on some test images: by concepts and by pixels."""

from glasshead.pipelines.explain.pipeline import create_pipeline

__all__ = ["create_pipeline"]
