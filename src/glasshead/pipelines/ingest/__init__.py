"""Read a source into the image table; put bad files aside."""

from glasshead.pipelines.ingest.pipeline import create_pipeline

__all__ = ["create_pipeline"]
