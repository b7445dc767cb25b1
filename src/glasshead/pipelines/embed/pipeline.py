"""The graph of `embed`."""

from kedro.pipeline import Node, Pipeline

from glasshead.pipelines.embed.nodes import embed_images, embed_texts


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
            ),
        ]
    )


def texts_pipeline() -> Pipeline:
    """taxonomy, images → text_embeddings."""
    return Pipeline(
        [
            Node(
                embed_texts,
                ["taxonomy", "images", "params:backbone"],
                "text_embeddings",
                name="embed_texts",
            )
        ]
    )
