"""The node of `risk` that looks for shortcuts: anything but the risk that the score may rest on."""

from functools import partial

import numpy as np
import pandas as pd

from glasshead.audit.attributes import data_finding, score_finding
from glasshead.audit.findings import ATTRIBUTES_ADVICE, Finding, not_checked, worst_first
from glasshead.audit.shortcuts import Audited, look_at_marks, look_beside, object_finding
from glasshead.calibration.table import LABEL, class_columns
from glasshead.explainers.risk_maps import (
    LocalisationImages,
    load_localisation_images,
    risk_attribution,
    risk_maps,
    risk_probabilities,
)
from glasshead.images.fitting import table_rows
from glasshead.images.pixels import masks_as_seen, square_mask
from glasshead.images.risks import Risk
from glasshead.images.table import ATTRIBUTE, ImageTable
from glasshead.models.risk import RiskAuditor
from glasshead.pipelines.risk.evaluation_nodes import positives
from glasshead.pipelines.risk.params import RiskParams

SPOT = 1.5  # side of the square hidden beside an object, in cells of the feature map


def find_shortcuts(
    auditor: RiskAuditor,
    reference: RiskAuditor,
    images: ImageTable,
    samples: pd.DataFrame,
    logits: pd.DataFrame,
    localisation: pd.DataFrame,
    planted: pd.DataFrame,
    parameters: RiskParams,
    seed: int,
) -> list[Finding]:
    """Return the findings on all risks, the most severe first; if a check lacks its input, a finding says so.

    Checks: risk_off_object (the map points beside the object) and mark_beside_object (the score rests on a mark there)
    need masks. planted_mark looks at marks that the source planted. Both checks on marks also use the `reference`, an
    ordinary classifier, as the data may offer a shortcut that the auditor does not take. risk_by_attribute and
    data_bias need attributes in the image table.
    """
    findings: list[Finding | None] = []
    for risk_index, risk in enumerate(parameters.risks):
        rows = positives(logits[logits["split"] == "test"], risk.name, parameters, seed)
        localisation_images = load_localisation_images(
            images, rows, auditor.prepare, auditor.input_size
        )
        models = {
            f"{risk.name!r}": auditor,
            f"{risk.name!r}, as a usual classifier learns it from these data,": reference,
        }
        findings += _look_beside(
            models, localisation_images, localisation, risk.name, risk_index, parameters, seed
        )
        findings.append(
            _look_at_marks(models, images, logits, planted, risk.name, risk_index, parameters, seed)
        )
        findings += _look_at_attributes(samples, logits, risk, parameters, seed)
    return worst_first(findings)


def _look_beside(
    models: dict[str, RiskAuditor],
    localisation_images: LocalisationImages,
    localisation: pd.DataFrame,
    risk: str,
    risk_index: int,
    parameters: RiskParams,
    seed: int,
) -> list[Finding | None]:
    """Return findings on maps that point beside the object, and on marks there that the score rests on."""
    if not len(localisation_images):
        reason = f"there are no masks of objects in test images with {risk!r}"
        advice = "Look at the galleries of the highest and of uncertain scores: does the heat lie on the object?"
        return [
            not_checked(check, reason, advice)
            for check in ("risk_off_object", "mark_beside_object")
        ]
    table = localisation[localisation["risk"] == risk]
    off_object = object_finding(
        risk,
        1 - table["relevance_mass_accuracy"].to_numpy(),
        1 - table["relevance_mass_accuracy_centre"].to_numpy(),
        table["image_id"].to_numpy(),
        parameters.n_resamples,
        seed,
    )
    for subject, model in models.items():
        audited = _audited(
            model,
            localisation_images.image_ids,
            localisation_images.pixels,
            np.ones(len(localisation_images), bool),
            risk_index,
        )
        side = max(3, round(SPOT * model.input_size / _grid_side(model)))
        masks = localisation_images.masks
        if finding := look_beside(subject, audited, masks, side, parameters.n_resamples, seed):
            return [off_object, finding]
    return [off_object]


def _look_at_marks(
    models: dict[str, RiskAuditor],
    images: ImageTable,
    logits: pd.DataFrame,
    planted: pd.DataFrame,
    risk: str,
    risk_index: int,
    parameters: RiskParams,
    seed: int,
) -> Finding | None:
    """Return a finding on the marks of a planted shortcut in test images; None if there are none."""
    marked = planted[planted["defect"] == "shortcut"].set_index("image_id")["detail"]
    rows = logits[(logits["split"] == "test") & logits["image_id"].isin(marked.index)]
    rows = rows.head(parameters.localisation_images)
    if rows.empty:
        return None
    pictures = [images.pil(int(row)) for row in table_rows(images, rows)]
    boxes = [
        square_mask(marked[name], picture)
        for name, picture in zip(rows["image_id"], pictures, strict=True)
    ]
    prepare = next(iter(models.values())).prepare
    marks, pixels = masks_as_seen(prepare, boxes, pictures), prepare(pictures).numpy()
    ids, has_risk = rows["image_id"].to_numpy(object), rows[LABEL + risk].to_numpy() == 1
    for subject, model in models.items():
        audited = _audited(model, ids, pixels, has_risk, risk_index)
        if finding := look_at_marks(subject, audited, marks, parameters.n_resamples, seed):
            return finding
    return None


def _audited(
    auditor: RiskAuditor,
    image_ids: np.ndarray,
    pixels: np.ndarray,
    has_risk: np.ndarray,
    risk_index: int,
) -> Audited:
    maps, heat = risk_maps(auditor, pixels, risk_index)
    score, attribute = (
        partial(compute, auditor, risk_index=risk_index)
        for compute in (risk_probabilities, risk_attribution)
    )
    return Audited(image_ids, pixels, maps, heat, has_risk, score, attribute)


def _look_at_attributes(
    samples: pd.DataFrame, logits: pd.DataFrame, risk: Risk, parameters: RiskParams, seed: int
) -> list[Finding | None]:
    """Return findings on the attributes of the image table, except the one that defines the risk."""
    attributes = [name for name in class_columns(samples, ATTRIBUTE) if name != risk.column]
    if not attributes:
        reason = f"the image table has no attributes beside {risk.name!r}"
        return [
            not_checked(check, reason, ATTRIBUTES_ADVICE)
            for check in ("risk_by_attribute", "data_bias")
        ]
    table = logits.merge(
        samples[["image_id", *(ATTRIBUTE + name for name in attributes)]], on="image_id"
    )
    test, train = (table[table["split"] == split] for split in ("test", "train"))
    has_risk = test[LABEL + risk.name].to_numpy() == 1
    score = test[f"logit/{risk.name}"].to_numpy()
    findings = []
    for name in attributes:
        values = test[ATTRIBUTE + name].to_numpy(object)
        findings += [
            score_finding(
                risk.name, name, score, has_risk, values, test["image_id"].to_numpy(), seed
            ),
            data_finding(
                risk.name,
                name,
                (
                    train[ATTRIBUTE + name].to_numpy(object),
                    train[LABEL + risk.name].to_numpy() == 1,
                ),
                (values, has_risk),
                score,
                parameters.n_resamples,
                seed,
            ),
        ]
    return findings


def _grid_side(auditor: RiskAuditor) -> int:
    """Return the number of cells along a side of the frozen feature map."""
    shape = auditor.encoder.shape
    return shape[-1] if len(shape) == 3 else round(shape[0] ** 0.5)
