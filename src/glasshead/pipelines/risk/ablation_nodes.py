"""Nodes of `risk_ablation`: what each loss and each pooling contributes, measured over several seeds."""

from functools import partial
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from glasshead.calibration.ranking import auroc, mean_gap
from glasshead.calibration.replicates import mean_over_runs, paired_difference, verdict
from glasshead.embedding.spatial import open_spatial
from glasshead.embedding.store import EmbeddingStore
from glasshead.explainers.risk_maps import localiser
from glasshead.images.risks import add_risk_labels
from glasshead.images.table import ImageTable
from glasshead.models.backbone import BackboneParams, choose_backbone
from glasshead.models.clip import load_encoder
from glasshead.models.risk import POOLINGS, RiskAuditor
from glasshead.models.store import VariantStore
from glasshead.models.variants import fit_each, name_of
from glasshead.pipelines.risk.nodes import fit_auditor, risk_rows
from glasshead.pipelines.risk.params import RiskParams
from glasshead.reporting.risk_figures import risk_ablation_figure
from glasshead.training.risk import mean_over_risks, risk_outputs

REPLICATES = 3  # number of seeds: the run's own seed and the next ones
LOSSES = ("bce", "ranking", "patch")
MEASURES = ("auroc", "gap", "pointing_game", "iou")
COMPARED = ("auroc", "iou")
REFERENCE = "as configured"


class Variant(NamedTuple):
    """One training of a variant; its seed is the run's seed plus `replicate`."""

    variant: str
    replicate: int


def ablations(parameters: RiskParams) -> dict[str, RiskParams]:
    """Return the variants by name: as configured, without each loss, with each loss alone, with each other pooling."""
    weights = parameters.training.losses
    changed = {REFERENCE: parameters}
    for loss in LOSSES:
        changed[f"without {loss}"] = _with_losses(parameters, {loss: 0.0})
    for loss in LOSSES:
        others = {other: 0.0 for other in LOSSES if other != loss}
        kept = getattr(weights, loss) or 1.0
        changed[f"{loss} alone"] = _with_losses(parameters, others | {loss: kept})
    for pooling in POOLINGS:
        if pooling != parameters.head.pooling:
            head = parameters.head.model_copy(update={"pooling": pooling})
            changed[f"pooling {pooling}"] = parameters.model_copy(update={"head": head})
    return changed


def fit_variants(
    images: ImageTable,
    variants: VariantStore,
    store: EmbeddingStore,
    embed_summary: dict[str, Any],
    backbone: BackboneParams,
    parameters: RiskParams,
    fitting_samples: pd.DataFrame,
    seed: int,
) -> pd.DataFrame:
    """Fit the auditors of each variant, keep them in `variants`, and return all training histories.

    Raises the errors of `fit_auditor`.
    """
    data = images, fitting_samples, store, embed_summary, backbone
    trainings = {
        Variant(name, replicate): partial(fit_auditor, *data, changed, seed + replicate)
        for name, changed in ablations(parameters).items()
        for replicate in range(REPLICATES)
    }
    return fit_each(variants, trainings)


def measure_variants(
    images: ImageTable,
    variants: VariantStore,
    store: EmbeddingStore,
    embed_summary: dict[str, Any],
    backbone: BackboneParams,
    parameters: RiskParams,
    samples: pd.DataFrame,
    histories: pd.DataFrame,
) -> pd.DataFrame:
    """Return a row for each training in `histories`: variant, replicate, and its measures on test rows.

    The measures are auroc, gap, pointing_game and iou, each averaged over the risks. The last two are null without
    masks.

    Raises ArtifactError if `variants` lacks an auditor, or if the features come from another backbone than the
    auditor's.
    """
    test = samples[samples["split"] == "test"]
    targets = add_risk_labels(test, parameters.risks, images.classes).reset_index(drop=True)
    encoder = load_encoder(choose_backbone(backbone, images), parameters.features.output)
    localise = localiser(
        images, targets, encoder.prepare, encoder.input_size, parameters.localisation_images
    )
    rows = []
    trained = histories[list(Variant._fields)].drop_duplicates()
    for variant in map(Variant._make, trained.itertuples(index=False)):
        name = name_of(variant)
        auditor = variants.load(name)
        assert isinstance(auditor, RiskAuditor)
        features = open_spatial(embed_summary, images, auditor.encoder, store, parameters.features)
        test_rows = risk_rows(images, targets, features)
        logits, _, maps = risk_outputs(auditor.head, test_rows, parameters.training.batch_size)
        measures = {
            "auroc": mean_over_risks(auroc, logits, test_rows.labels),
            "gap": mean_over_risks(mean_gap, logits, test_rows.labels),
            **localise(maps),
        }
        variants.note(name, finished=True, metrics=measures)
        rows.append(variant._asdict() | measures)
    return pd.DataFrame(rows).astype(dict.fromkeys(MEASURES, float))


def compare_variants(runs: pd.DataFrame, parameters: RiskParams) -> pd.DataFrame:
    """Return a row for each variant, with its measures averaged over seeds.

    Columns: variant, pooling, bce, ranking, patch (the weights); seeds; <measure>, <measure>_low and <measure>_high for
    auroc, gap, pointing_game and iou: mean and 95 % t interval over seeds. For auroc and iou also <measure>_difference,
    the difference to the variant as configured, paired by seed, with its interval, and <measure>_verdict: higher,
    lower, or unresolved if this interval contains 0. pointing_game and iou are null without masks.
    """
    groups = dict(iter(runs.groupby("variant")))
    rows = []
    for name, changed in ablations(parameters).items():
        row = {
            "variant": name,
            "pooling": changed.head.pooling,
            **changed.training.losses.model_dump(),
            "seeds": len(groups[name]),
        }
        for measure in MEASURES:
            reached = mean_over_runs(groups[name][measure].tolist())
            row |= reached.columns(measure, f"{measure}_")
        for measure in COMPARED if name != REFERENCE else ():
            values, reference = (groups[group][measure].tolist() for group in (name, REFERENCE))
            difference = paired_difference(values, reference)
            row |= difference.columns(f"{measure}_difference", f"{measure}_difference_")
            row[f"{measure}_verdict"] = None if pd.isna(difference.value) else verdict(difference)
        rows.append(row)
    return pd.DataFrame(rows)


def plot_ablation(ablation: pd.DataFrame) -> Figure:
    """Return a figure of each variant's measures with their intervals over seeds."""
    known = [measure for measure in MEASURES if ablation[measure].notna().any()]
    return risk_ablation_figure(ablation, known)


def _with_losses(parameters: RiskParams, weights: dict[str, float]) -> RiskParams:
    losses = parameters.training.losses.model_copy(update=weights)
    training = parameters.training.model_copy(update={"losses": losses})
    return parameters.model_copy(update={"training": training})
