"""The graph of `ingest`."""

from kedro.pipeline import Pipeline

from glasshead.deferred import deferred
from glasshead.templates import steps

with deferred(__name__):
    from glasshead.pipelines.ingest.nodes import read_images


def create_pipeline() -> Pipeline:
    """The chosen source → images, quarantine, planted, ingest_counts."""
    outputs = "images quarantine planted ingest_counts"
    return steps((read_images, "params:ingest params:seed", outputs))
