"""Nodes of `embed`."""

from typing import Any

import pandas as pd

from glasshead.embedding import local
from glasshead.embedding.store import Embeddings, EmbeddingStore
from glasshead.errors import ArtifactError
from glasshead.images.table import ImageTable
from glasshead.models.clip import BackboneParams, load_encoder
from glasshead.pipelines.embed.params import EmbedParams


def embed_images(
    images: ImageTable,
    samples: pd.DataFrame,
    store: EmbeddingStore,
    backbone: BackboneParams,
    params: EmbedParams,
) -> tuple[Embeddings, dict[str, Any]]:
    """Return the projected embeddings of `images`, their L2 norm kept as it is, and a summary.

    Raises ArtifactError if `samples` are not the rows of `images`: preprocess has not seen these images.
    """
    if samples["image_id"].tolist() != images.frame()["image_id"].tolist():
        raise ArtifactError(
            "The samples table is not of these images. Run `kedro run --pipeline=preprocess` again."
        )
    return local.embed_images(
        images,
        load_encoder(backbone),
        store,
        batch_size=params.batch_size,
        shard_rows=params.shard_rows,
        device=params.device,
    )
