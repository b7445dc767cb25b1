"""Nodes of `embed`."""

import logging
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, NonNegativeInt, PositiveInt

from glasshead.device import Device
from glasshead.embedding.local import embed_images as embed_here
from glasshead.embedding.on_ray import embed_images_on_ray
from glasshead.embedding.store import Embeddings, EmbeddingStore
from glasshead.errors import ArtifactError
from glasshead.images.table import ImageTable
from glasshead.images.taxonomy import Taxonomy, write_prompts
from glasshead.models.backbone import BackboneParams, choose_backbone
from glasshead.models.clip import load_encoder, processor_settings
from glasshead.models.packed import Precision
from glasshead.models.text import load_text_encoder
from glasshead.models.towers import Output

logger = logging.getLogger(__name__)


class RayParams(BaseModel, extra="forbid", frozen=True):
    """The Ray engine: `address` of a cluster, None to start Ray on this machine; `max_retries` if a worker dies."""

    address: str | None = None
    workers: PositiveInt | Literal["auto"] = "auto"
    max_retries: NonNegativeInt = 1


class EmbedParams(BaseModel, extra="forbid", frozen=True):
    """How images are encoded, and what is stored.

    batch_size: images in one forward pass.
    shard_rows: images in a shard file; a killed run loses at most one shard.
    output: which output of the backbone is stored; auto is projected if the backbone has it, else pooled.
    """

    engine: Literal["local", "ray"] = "local"
    batch_size: PositiveInt | Literal["auto"] = "auto"
    shard_rows: PositiveInt = 1024
    precision: Precision | Literal["auto"] = "auto"
    dtype: Literal["float32", "float16"] = "float32"
    device: Device = "auto"
    output: Output | Literal["auto"] = "auto"
    ray: RayParams = RayParams()


def embed_images(
    images: ImageTable,
    samples: pd.DataFrame,
    processor: dict[str, Any],
    store: EmbeddingStore,
    backbone: BackboneParams,
    params: EmbedParams,
) -> tuple[Embeddings, dict[str, Any]]:
    """Return the backbone's outputs for `images`, not L2-normalised, and a summary.

    Raises ArtifactError if preprocess ran on other images (`samples` are not the rows of `images`) or with another
    backbone (`processor` differs from the image processor of `backbone`).
    """
    images.check_rows(samples)
    backbone = choose_backbone(backbone, images)
    if processor != processor_settings(backbone):
        raise ArtifactError(
            f"Preprocess resolved the image processor of {processor['backbone']!r}, but the configured backbone "
            f"{backbone.name!r} has another. Run the preprocess pipeline again with this backbone."
        )
    options: dict[str, Any] = {
        "batch_size": None if params.batch_size == "auto" else params.batch_size,
        "shard_rows": params.shard_rows,
        "device": params.device,
        "precision": None if params.precision == "auto" else params.precision,
        "dtype": params.dtype,
    }
    encoder = load_encoder(backbone, None if params.output == "auto" else params.output)
    if params.engine == "ray":
        return embed_images_on_ray(images, encoder, store, **options, **params.ray.model_dump())
    return embed_here(images, encoder, store, **options)


def embed_texts(
    taxonomy: dict[str, Any], images: ImageTable, backbone: BackboneParams
) -> pd.DataFrame:
    """Return a row for each prompt: prompt, kind, subtask, value, embedding (d float32), encoder_key.

    `kind` is "class" or "value"; prompts of classes have no subtask. Raises BackboneError if the backbone has no text
    tower.
    """
    encoder = load_text_encoder(choose_backbone(backbone, images))
    prompts = write_prompts(Taxonomy.model_validate(taxonomy), images.classes)
    vectors = encoder([prompt.text for prompt in prompts])
    logger.info("%d prompts embedded", len(prompts))
    table = pd.DataFrame(prompts, columns=["prompt", "kind", "subtask", "value"])
    return table.assign(embedding=list(vectors.numpy()), encoder_key=encoder.key)
