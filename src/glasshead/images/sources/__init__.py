"""Where images come from: one module per kind of source, and `read_source`, which checks what they give."""

from glasshead.images.sources.params import IngestParams
from glasshead.images.sources.read import Ingested, read_source

__all__ = ["IngestParams", "Ingested", "read_source"]
