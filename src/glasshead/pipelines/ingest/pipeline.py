"""The graph of `ingest`."""

from kedro.pipeline import Node, Pipeline

from glasshead.pipelines.ingest.nodes import read_images


def create_pipeline() -> Pipeline:
    """The chosen source → images, quarantine, planted, ingest_counts."""
    return Pipeline(
        [
            Node(
                read_images,
                ["params:ingest", "params:seed"],
                ["images", "quarantine", "planted", "ingest_counts"],
                name="read_images",
            )
        ]
    )
