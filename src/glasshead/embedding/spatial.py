"""Features of every place in every image: from the store if they fit a disk budget, else computed on demand."""

import logging
import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, PositiveInt
from torch import Tensor

from glasshead.device import Device, FittingBatches, choose_device
from glasshead.embedding.local import embed_images
from glasshead.embedding.store import EmbeddingStore
from glasshead.errors import ArtifactError, EmbeddingError
from glasshead.images.table import ImageTable
from glasshead.models.classifier import as_images
from glasshead.models.clip import ImageEncoder
from glasshead.models.packed import Precision

logger = logging.getLogger(__name__)

MEGABYTE = 2**20
BATCH = 64  # images in one pass when features are computed on demand
NEXT = "Run `kedro run --pipelines=risk`, which makes them with the configured backbone."

Dtype = Literal["float32", "float16"]


class SpatialParams(BaseModel, extra="forbid", frozen=True):
    """Which features (see `glasshead.models.towers`), and how they are stored if they fit `budget_mb`."""

    output: Literal["spatial", "attention_inputs"] = "attention_inputs"
    budget_mb: PositiveInt = 8192
    dtype: Dtype = "float16"
    precision: Precision | Literal["auto"] = "auto"
    device: Device = "auto"


# from rows of the image table to their float32 features: (b, places, d) of a transformer, (b, d, h, w) of a ResNet
SpatialFeatures = Callable[[Int[np.ndarray, " b"]], Float[Tensor, "b ..."]]


def store_spatial(
    images: ImageTable, encoder: ImageEncoder, store: EmbeddingStore, params: SpatialParams
) -> dict[str, Any]:
    """Encode missing features if those of all `images` fit the budget; return a plan of where features come from.

    In the plan, `features/from` is store or encoder, and `features/why` the reason; if images were embedded, their
    summary is added. Raises the errors of `embed_images`.
    """
    megabytes = len(images) * math.prod(encoder.shape) * np.dtype(params.dtype).itemsize / MEGABYTE
    fits = megabytes <= params.budget_mb
    why = (
        f"{len(images)} × {' × '.join(map(str, encoder.shape))} in {params.dtype} take {megabytes:.0f} MB, "
        f"{'within' if fits else 'more than'} risk.features.budget_mb = {params.budget_mb}"
    )
    plan = {
        "features/from": "store" if fits else "encoder",
        "features/why": why,
        "encoder_key": encoder.key,
        "store_key": None,
    }
    logger.info("Spatial features come from the %s: %s", plan["features/from"], why)
    if not fits:
        logger.warning(
            "Every epoch encodes all images again; raise risk.features.budget_mb if the disk has room"
        )
        return plan
    precision = None if params.precision == "auto" else params.precision
    embeddings, summary = embed_images(
        images, encoder, store, device=params.device, precision=precision, dtype=params.dtype
    )
    return plan | {"store_key": embeddings.store_key} | summary


def open_spatial(
    plan: dict[str, Any],
    images: ImageTable,
    encoder: ImageEncoder,
    store: EmbeddingStore,
    params: SpatialParams,
) -> SpatialFeatures:
    """Return the features of the plan from `store_spatial`.

    Raises:
        ArtifactError: the plan's features come from another encoder.
        EmbeddingError: the store lacks some of them.
    """
    if plan["encoder_key"] != encoder.key:
        raise ArtifactError(f"The spatial features come from another encoder. {NEXT}")
    if plan["store_key"] is None:
        return EncodedFeatures(
            images, encoder, choose_device(params.device, "risk.features.device")
        )
    rows = store.rows(plan["store_key"], images.hashes())
    if not rows.found.all():
        raise EmbeddingError(
            f"{(~rows.found).sum()} of {len(rows)} images have no spatial features in the store. {NEXT}"
        )
    return lambda chosen: torch.from_numpy(rows[chosen])


class EncodedFeatures:
    """Features computed on demand; batches that do not fit into memory are halved, with a warning.

    Raises EmbeddingError if a single image does not fit, ArtifactError if an image is damaged.
    """

    def __init__(self, images: ImageTable, encoder: ImageEncoder, device: str) -> None:
        self._images, self._encoder, self._device = images, encoder.to(device), device
        self._fitting = FittingBatches(
            device, EmbeddingError, "Use a smaller backbone, or risk.features.device=cpu."
        )

    @torch.no_grad()
    def __call__(self, rows: Int[np.ndarray, " b"]) -> Float[Tensor, "b ..."]:
        features = [
            self._fitting(self._encode, self._pixels(rows[start : start + BATCH]))
            for start in range(0, len(rows), BATCH)
        ]
        return torch.cat(features)

    def _pixels(self, rows: np.ndarray) -> Tensor:
        return self._encoder.prepare([self._images.pil(int(row)) for row in rows])

    def _encode(self, pixels: Tensor) -> Tensor:
        features: Tensor = self._encoder(as_images(pixels.to(self._device)))
        return features.float().cpu()
