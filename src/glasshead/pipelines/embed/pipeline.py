"""The graph of `embed`."""

from kedro.pipeline import Node, Pipeline

from glasshead.pipelines.embed.nodes import embed_images


def create_pipeline() -> Pipeline:
    """images, samples, processor, embedding_store → embeddings, embed_summary."""
    return Pipeline(
        [
            Node(
                embed_images,
                [
                    "images",
                    "samples",
                    "processor",
                    "embedding_store",
                    "params:backbone",
                    "params:embed",
                ],
                ["embeddings", "embed_summary"],
                name="embed_images",
            )
        ]
    )
