"""Nodes of `risk` that train the auditor and apply it. Fits read only `fitting_samples`."""

import json
import logging
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from glasshead import __version__
from glasshead.calibration.table import LABEL, class_columns
from glasshead.device import torch_threads
from glasshead.embedding.spatial import SpatialFeatures, open_spatial, store_spatial
from glasshead.embedding.store import EmbeddingStore
from glasshead.errors import ArtifactError
from glasshead.explainers.risk_maps import localiser
from glasshead.images.fitting import fitting_digest, table_rows
from glasshead.images.risks import add_risk_labels, check_both_sides
from glasshead.images.table import ImageTable
from glasshead.models.backbone import BackboneParams, choose_backbone
from glasshead.models.clip import load_encoder
from glasshead.models.risk import RiskAuditor, RiskHead, as_map
from glasshead.pipelines.risk.params import RiskParams
from glasshead.seeds import stream_seed, torch_seeded
from glasshead.training.checkpoint import CheckpointFolder
from glasshead.training.history import History, Progress
from glasshead.training.risk import RiskRows, risk_outputs, train_risk_head
from glasshead.training.risk_advice import advise
from glasshead.training.risk_losses import RiskLossWeights

logger = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]
WATCHED = 200  # validation images with each risk whose localisation is logged by epoch


def store_features(
    images: ImageTable,
    fitting_samples: pd.DataFrame,
    store: EmbeddingStore,
    backbone: BackboneParams,
    parameters: RiskParams,
) -> dict[str, Any]:
    """Return where the spatial features come from, and why. If they fit the budget, they are encoded into `store` here.

    Raises before anything is encoded:
        ParameterError: a risk names a class, column or value that the data does not have.
        SplitError: for a risk, no train row has it, or all have it.
    """
    targets = add_risk_labels(fitting_samples, parameters.risks, images.classes)
    check_both_sides(targets, parameters.risks)
    return store_spatial(
        images,
        load_encoder(choose_backbone(backbone, images), parameters.features.output),
        store,
        parameters.features,
    )


def fit_auditor(
    images: ImageTable,
    fitting_samples: pd.DataFrame,
    store: EmbeddingStore,
    embed_summary: dict[str, Any],
    backbone: BackboneParams,
    parameters: RiskParams,
    seed: int,
    checkpoints: CheckpointFolder | None = None,
) -> tuple[RiskAuditor, pd.DataFrame]:
    """Return the uncalibrated auditor and its training history, a row for each epoch.

    A finished training is kept in `checkpoints`, and is not repeated for the same data, parameters and seed.

    Raises:
        ArtifactError: `fitting_samples` are not rows of `images`, the features come from another backbone, or the
            checkpoint cannot be written.
        ParameterError: a risk names a class, column or value that the data does not have.
        SplitError: for a risk, no train row has it, or all have it.
        TrainingError: a loss is not finite, or a batch does not fit into memory.
    """
    targets = add_risk_labels(fitting_samples, parameters.risks, images.classes)
    check_both_sides(targets, parameters.risks)
    encoder = load_encoder(choose_backbone(backbone, images), parameters.features.output)
    features = open_spatial(embed_summary, images, encoder, store, parameters.features)
    splits = [targets[targets["split"] == split] for split in ("train", "validation")]
    train, validation = (risk_rows(images, rows, features) for rows in splits)
    with torch_seeded(stream_seed(seed, "risk", "initial_weights")):
        head = RiskHead(encoder.dimension, len(parameters.risks), parameters.head)
    provenance = {
        "data": images.digest(),
        "fitting_rows": fitting_digest(fitting_samples),
        "backbone": encoder.backbone.name,
        "backbone_revision": encoder.backbone.revision,
        "risks": [risk.model_dump(exclude_defaults=True) for risk in parameters.risks],
        "training": parameters.training.model_dump(mode="json"),
        "glasshead": __version__,
        "seed": seed,
    }
    auditor = RiskAuditor(encoder, head, parameters.names, provenance)
    identity = json.dumps([auditor.describe(), embed_summary["store_key"]], sort_keys=True)
    if checkpoints and (finished := checkpoints.load("last", identity)):
        progress, weights = finished
        head.load_state_dict(weights)
        head.eval()
        return auditor, pd.DataFrame(progress.history.epochs)
    # Only logged after each epoch. It selects nothing, as training may use image-level labels but no masks.
    localise = localiser(images, splits[1], encoder.prepare, encoder.input_size, WATCHED)
    with torch_threads(1):  # steps are too short to share among threads
        history = train_risk_head(head, train, validation, parameters.training, seed, localise)
    _log_outcome(head, train, validation, history, parameters)
    encoder.cpu()  # the encoder may have computed features on another device
    if checkpoints:
        progress = Progress(finished=True, history=History(history))
        checkpoints.save("last", identity, progress, head.state_dict())
    return auditor, pd.DataFrame(history)


def fit_reference(
    auditor: RiskAuditor,
    images: ImageTable,
    fitting_samples: pd.DataFrame,
    store: EmbeddingStore,
    embed_summary: dict[str, Any],
    backbone: BackboneParams,
    parameters: RiskParams,
    seed: int,
) -> RiskAuditor:
    """Return an ordinary classifier on the auditor's features: average pooling, and binary cross-entropy as only loss.

    Grad-CAM of this reference is compared with the risk maps. Raises the errors of `fit_auditor`, and ArtifactError if
    the auditor was trained on the features of another backbone.
    """
    logger.info("Training the reference for Grad-CAM, an ordinary classifier on the same features")
    if auditor.encoder_key != embed_summary["encoder_key"]:
        raise ArtifactError(
            "The auditor was trained on features of another encoder than the configured backbone. Run "
            "`kedro run --pipelines=risk` again."
        )
    usual = parameters.model_copy(
        update={
            "head": parameters.head.model_copy(update={"pooling": "average"}),
            "training": parameters.training.model_copy(
                update={"losses": RiskLossWeights(bce=1, ranking=0, patch=0)}
            ),
        }
    )
    return fit_auditor(images, fitting_samples, store, embed_summary, backbone, usual, seed)[0]


def predict_risk(
    auditor: RiskAuditor,
    images: ImageTable,
    samples: pd.DataFrame,
    store: EmbeddingStore,
    embed_summary: dict[str, Any],
    parameters: RiskParams,
) -> tuple[pd.DataFrame, Arrays]:
    """Return raw logits of all rows, and their risk maps.

    The table has image_id, split, label, content_hash, label/<risk> and logit/<risk>. The arrays are image_id (n,),
    risks (r,) and maps (n, r, h, w) float16.

    Raises ArtifactError if `samples` are not rows of `images`, or if the features come from another backbone.
    """
    images.check_rows(samples)
    targets = add_risk_labels(samples, parameters.risks, images.classes)
    features = open_spatial(embed_summary, images, auditor.encoder, store, parameters.features)
    rows = risk_rows(images, targets, features)
    logits, _, maps = risk_outputs(auditor.head, rows, parameters.training.batch_size)
    names = [f"logit/{risk}" for risk in auditor.classes]
    table = pd.DataFrame(logits.numpy().astype(np.float64), columns=names, index=targets.index)
    arrays = {
        "image_id": np.array(targets["image_id"], dtype=str),
        "risks": np.array(auditor.classes, dtype=str),
        "maps": maps.numpy().astype(np.float16),
    }
    return pd.concat([targets, table], axis=1), arrays


def _log_outcome(
    head: RiskHead,
    train: Any,
    validation: Any,
    history: list[dict[str, Any]],
    parameters: RiskParams,
) -> None:
    best = min(history, key=lambda row: row["validation_loss"])
    shown = {name: best[f"validation_{name}"] for name in ("loss", "auroc", "gap")}
    logger.info(
        "Best epoch %d of %d: validation %s",
        best["epoch"],
        len(history),
        ", ".join(f"{name} {value:.3f}" for name, value in shown.items() if value is not None),
    )
    logits, activations, _ = risk_outputs(head, validation, parameters.training.batch_size)
    for line in advise(parameters.names, logits, activations, train.labels, parameters.training):
        logger.warning("%s", line)


def risk_rows(images: ImageTable, targets: pd.DataFrame, features: SpatialFeatures) -> RiskRows:
    """Return the rows of `targets`, in their order; ArtifactError if they are not rows of `images`."""
    image_rows = table_rows(images, targets)

    def take(rows: np.ndarray) -> Float[Tensor, "b d h w"]:
        return as_map(features(image_rows[rows]))

    columns = [LABEL + risk for risk in class_columns(targets, LABEL)]
    labels = torch.from_numpy(targets[columns].to_numpy(np.float32, copy=True))
    return RiskRows(take, labels)
