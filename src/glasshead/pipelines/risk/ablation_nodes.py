"""Nodes of `risk_ablation`: the effect of each loss and each pooling, over several seeds."""

import logging
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from glasshead.calibration.ranking import auroc, mean_gap
from glasshead.calibration.replicates import mean_over_runs, paired_difference, verdict
from glasshead.embedding.spatial import open_spatial
from glasshead.embedding.store import EmbeddingStore
from glasshead.explainers.risk_maps import localiser
from glasshead.images.risks import add_risk_labels
from glasshead.images.table import ImageTable
from glasshead.models.clip import BackboneParams, load_encoder
from glasshead.models.risk import POOLINGS, RiskHead
from glasshead.pipelines.risk.nodes import fit_auditor
from glasshead.pipelines.risk.params import RiskParams
from glasshead.pipelines.risk.rows import risk_rows
from glasshead.reporting.risk_figures import risk_ablation_figure
from glasshead.training.risk import risk_outputs

logger = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]
REPLICATES = 3  # the run's own seed and those after it
LOSSES = ("bce", "ranking", "patch")
MEASURES = ("auroc", "gap", "pointing_game", "iou")
COMPARED = ("auroc", "iou")


def ablations(parameters: RiskParams) -> dict[str, RiskParams]:
    """Return the variants by name: as configured, without each loss, with each loss alone, with other poolings."""
    weights = parameters.training.losses
    changed = {"as configured": parameters}
    for loss in LOSSES:
        changed[f"without {loss}"] = _with_losses(parameters, {loss: 0.0})
    for loss in LOSSES:
        without_others = {other: 0.0 for other in LOSSES if other != loss}
        kept = getattr(weights, loss) or 1.0
        changed[f"{loss} alone"] = _with_losses(parameters, without_others | {loss: kept})
    for pooling in POOLINGS:
        if pooling != parameters.head.pooling:
            head = parameters.head.model_copy(update={"pooling": pooling})
            changed[f"pooling {pooling}"] = parameters.model_copy(update={"head": head})
    return changed


def fit_variants(
    images: ImageTable,
    fitting_samples: pd.DataFrame,
    store: EmbeddingStore,
    embed_summary: dict[str, Any],
    backbone: BackboneParams,
    parameters: RiskParams,
    seed: int,
) -> Arrays:
    """Return the weights of each variant's heads as `<variant>/<replicate>/<name>`; raises as `fit_auditor`."""
    heads = {}
    for name, changed in ablations(parameters).items():
        for replicate in range(REPLICATES):
            logger.info("%s, replicate %d", name, replicate)
            auditor, _ = fit_auditor(
                images, fitting_samples, store, embed_summary, backbone, changed, seed + replicate
            )
            for parameter, value in auditor.head.state_dict().items():
                heads[f"{name}/{replicate}/{parameter}"] = value.numpy()
    return heads


def measure_variants(
    images: ImageTable,
    samples: pd.DataFrame,
    heads: Arrays,
    store: EmbeddingStore,
    embed_summary: dict[str, Any],
    backbone: BackboneParams,
    parameters: RiskParams,
) -> pd.DataFrame:
    """Return a row for each variant with its measures on test rows, averaged over the risks.

    Columns: variant, pooling, bce, ranking, patch (the weights); seeds; <measure>, <measure>_low and <measure>_high of
    auroc, gap, pointing_game and iou, mean and 95 % t interval over seeds; for auroc and iou also
    <measure>_difference, its interval and <measure>_verdict, against the variant as configured, paired by seed: higher,
    lower, or unresolved if the interval holds 0. Measures that need masks are null without them.
    """
    test = samples[samples["split"] == "test"]
    targets = add_risk_labels(test, parameters.risks, images.classes).reset_index(drop=True)
    encoder = load_encoder(backbone, parameters.features.output)
    features = open_spatial(embed_summary, images, encoder, store, parameters.features)
    rows = risk_rows(images, targets, features)
    localise = localiser(
        images, targets, encoder.prepare, encoder.input_size, parameters.localisation_images
    )
    reached: dict[str, dict[str, list[float]]] = {}
    for name, changed in ablations(parameters).items():
        runs = []
        for replicate in range(REPLICATES):
            head = RiskHead(encoder.dimension, len(parameters.risks), changed.head)
            prefix = f"{name}/{replicate}/"
            head.load_state_dict(
                {
                    parameter.removeprefix(prefix): torch.from_numpy(value)
                    for parameter, value in heads.items()
                    if parameter.startswith(prefix)
                }
            )
            logits, _, maps = risk_outputs(head, rows, parameters.training.batch_size)
            runs.append(_rank(logits, rows.labels) | localise(maps))
        reached[name] = {
            measure: np.array([run[measure] for run in runs], float).tolist()  # NaN for None
            for measure in MEASURES
        }
    first = next(iter(reached.values()))
    return pd.DataFrame(
        _row(name, changed, reached[name], None if reached[name] is first else first)
        for name, changed in ablations(parameters).items()
    )


def plot_ablation(ablation: pd.DataFrame) -> Figure:
    """Return each variant's measures with their intervals over seeds."""
    known = [measure for measure in MEASURES if ablation[measure].notna().any()]
    return risk_ablation_figure(ablation, known)


def _with_losses(parameters: RiskParams, weights: dict[str, float]) -> RiskParams:
    losses = parameters.training.losses.model_copy(update=weights)
    training = parameters.training.model_copy(update={"losses": losses})
    return parameters.model_copy(update={"training": training})


def _rank(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float | None]:
    pairs = list(zip(logits.double().numpy().T, labels.numpy().T > 0.5, strict=True))
    return {
        "auroc": _mean([auroc(*pair).value for pair in pairs]),
        "gap": _mean([mean_gap(*pair).value for pair in pairs]),
    }


def _mean(values: list[float | None]) -> float | None:
    """Return the mean of the known values, or None."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _row(
    name: str,
    parameters: RiskParams,
    reached: dict[str, list[float]],
    reference: dict[str, list[float]] | None,
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "variant": name,
        "pooling": parameters.head.pooling,
        **parameters.training.losses.model_dump(),
        "seeds": REPLICATES,
    }
    for measure in MEASURES:
        known = not np.isnan(reached[measure]).any()
        estimate = mean_over_runs(reached[measure]) if known else None
        row |= {
            measure: estimate and estimate.value,
            f"{measure}_low": estimate and estimate.low,
            f"{measure}_high": estimate and estimate.high,
        }
    for measure in COMPARED:
        known = reference is not None and not np.isnan(reference[measure]).any()
        estimate = (
            paired_difference(reached[measure], reference[measure]) if known and reference else None
        )
        row |= {
            f"{measure}_difference": estimate and estimate.value,
            f"{measure}_difference_low": estimate and estimate.low,
            f"{measure}_difference_high": estimate and estimate.high,
            f"{measure}_verdict": estimate and verdict(estimate),
        }
    return row
