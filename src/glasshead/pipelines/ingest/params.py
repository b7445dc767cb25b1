"""Parameters of `ingest`: those of the sources."""

from glasshead.images.sources import IngestParams

__all__ = ["IngestParams"]
