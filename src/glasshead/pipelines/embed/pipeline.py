"""The graph of `embed`."""

from kedro.pipeline import Pipeline

from glasshead.deferred import deferred
from glasshead.templates import steps

with deferred(__name__):
    from glasshead.pipelines.embed.nodes import embed_images, embed_texts


def create_pipeline() -> Pipeline:
    """images, samples, processor, embedding_store → embeddings, embed_summary."""
    inputs = "images samples processor embedding_store params:backbone params:embed"
    return steps((embed_images, inputs, "embeddings embed_summary"))


def texts_pipeline() -> Pipeline:
    """taxonomy, images → text_embeddings."""
    return steps((embed_texts, "taxonomy images params:backbone", "text_embeddings"))
