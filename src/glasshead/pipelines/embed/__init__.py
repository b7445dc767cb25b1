"""Encode every image with the frozen CLIP image encoder, once per content."""

from glasshead.pipelines.embed.pipeline import create_pipeline, texts_pipeline

__all__ = ["create_pipeline", "texts_pipeline"]
