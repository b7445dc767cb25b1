"""Nodes of `embed`."""

from typing import Any

import pandas as pd

from glasshead.embedding.local import embed_images as embed_here
from glasshead.embedding.on_ray import embed_images_on_ray
from glasshead.embedding.store import Embeddings, EmbeddingStore
from glasshead.errors import ArtifactError
from glasshead.images.table import ImageTable
from glasshead.models.clip import BackboneParams, load_encoder, processor_settings
from glasshead.pipelines.embed.params import EmbedParams


def embed_images(
    images: ImageTable,
    samples: pd.DataFrame,
    processor: dict[str, Any],
    store: EmbeddingStore,
    backbone: BackboneParams,
    params: EmbedParams,
) -> tuple[Embeddings, dict[str, Any]]:
    """Return the projected embeddings of `images`, their L2 norm kept as it is, and a summary.

    Raises ArtifactError if `samples` are not the rows of `images`, or `processor` is not what the backbone's image
    processor does: preprocess has not seen these images or this backbone.
    """
    images.check_rows(samples)
    if processor != processor_settings(backbone):
        raise ArtifactError(
            f"Preprocess has resolved the image processor of {processor['backbone']!r}, not of {backbone.name!r} "
            "as it is now. Run the preprocess pipeline again with this backbone."
        )
    options: dict[str, Any] = {
        "batch_size": None if params.batch_size == "auto" else params.batch_size,
        "shard_rows": params.shard_rows,
        "device": params.device,
        "precision": None if params.precision == "auto" else params.precision,
        "dtype": params.dtype,
    }
    encoder = load_encoder(backbone)
    if params.engine == "ray":
        return embed_images_on_ray(images, encoder, store, **options, **params.ray.model_dump())
    return embed_here(images, encoder, store, **options)
