"""The graph of `ingest`."""

from kedro.pipeline import Pipeline

from glasshead.pipelines.ingest.nodes import read_images
from glasshead.templates import steps


def create_pipeline() -> Pipeline:
    """The chosen source → images, quarantine, planted, ingest_counts."""
    outputs = "images quarantine planted ingest_counts"
    return steps((read_images, "params:ingest params:seed", outputs))
