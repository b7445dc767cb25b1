"""Read a source into the image table; quarantine bad files."""

from glasshead.pipelines.ingest.pipeline import create_pipeline

__all__ = ["create_pipeline"]
