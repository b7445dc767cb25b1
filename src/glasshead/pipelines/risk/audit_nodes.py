"""The node of `risk` that looks for what the score may rest on instead of the risk. It reads test rows."""

import logging

import numpy as np
import pandas as pd

from glasshead.audit.attributes import data_finding, score_finding
from glasshead.audit.findings import Finding, not_checked
from glasshead.audit.hiding import elsewhere, hide, squares_at, striking_colour
from glasshead.audit.shortcuts import Removal, enough_beside, mark_finding, object_finding
from glasshead.explainers.localisation import mass_on_mark
from glasshead.images.fitting import table_rows
from glasshead.images.risks import TARGET, Risk
from glasshead.images.seen import masks_as_seen, square_mask
from glasshead.images.table import ATTRIBUTE, ImageTable
from glasshead.models.risk import RiskAuditor
from glasshead.pipelines.risk.evaluation_nodes import positives, risk_maps, risk_probabilities
from glasshead.pipelines.risk.localise import Located, load_located
from glasshead.pipelines.risk.params import RiskParams

logger = logging.getLogger(__name__)


def find_faults(
    auditor: RiskAuditor,
    images: ImageTable,
    samples: pd.DataFrame,
    scores: pd.DataFrame,
    localisation: pd.DataFrame,
    planted: pd.DataFrame,
    parameters: RiskParams,
    seed: int,
) -> list[Finding]:
    """Return the findings on all risks, the severest first; a check that lacks what it needs says so.

    risk_off_object: risk beside the object, and mark_beside_object: what decides there; both need masks.
    planted_mark: marks that the source has planted. risk_by_attribute, data_bias: need attributes of the image table.
    """
    findings: list[Finding | None] = []
    for place, risk in enumerate(parameters.risks):
        rows = positives(scores[scores["split"] == "test"], risk.name, parameters, seed)
        located = load_located(images, rows, auditor.prepare, auditor.input_size)
        findings += _look_beside(auditor, located, localisation, risk.name, place, parameters, seed)
        findings.append(
            _look_at_marks(auditor, images, scores, planted, risk.name, place, parameters, seed)
        )
        findings += _look_at_attributes(samples, scores, risk, parameters, seed)
    order = ("high", "medium", "low")
    found = sorted(
        (each for each in findings if each), key=lambda each: order.index(each["severity"])
    )
    for each in found:
        logger.warning("%s (%s): %s", each["check"], each["severity"], each["summary"])
    if not found:
        logger.info(
            "No finding: the checks have found nothing but the risk that the scores rest on"
        )
    return found


def _look_beside(
    auditor: RiskAuditor,
    located: Located,
    localisation: pd.DataFrame,
    risk: str,
    place: int,
    parameters: RiskParams,
    seed: int,
) -> list[Finding | None]:
    """Return findings on risk beside the object, and on what decides there."""
    if not len(located):
        reason = f"no masks of test images with {risk!r}, which say where the object is"
        advice = (
            "Give masks with the images, or look at the gallery: does the heat lie on the object?"
        )
        return [
            not_checked(check, reason, advice)
            for check in ("risk_off_object", "mark_beside_object")
        ]
    table = localisation[localisation["risk"] == risk]
    off_object = object_finding(
        risk,
        table["mass_outside"].to_numpy(),
        table["mass_outside_centre"].to_numpy(),
        table["image_id"].to_numpy(),
        parameters.n_resamples,
        seed,
    )
    maps, probabilities = risk_maps(auditor, located.pixels, place)
    size = auditor.input_size
    peaks = np.stack(
        np.unravel_index(maps.reshape(len(maps), -1).argmax(axis=1), maps.shape[1:]), axis=1
    )
    side = max(3, round(1.5 * size / _grid_side(auditor)))
    squares = squares_at(peaks, side, (size, size))
    beside = ~(squares & located.masks).any(axis=(1, 2))
    if not enough_beside(beside):
        return [off_object, None]
    removal = _remove(
        auditor, located.pixels[beside], squares[beside], probabilities[beside], place,
        located.image_ids[beside], np.ones(int(beside.sum()), bool),
    )  # fmt: skip
    y, x = np.median(peaks[beside], axis=0) / size
    colour = striking_colour(located.pixels[beside], squares[beside])
    what = (
        f"something beside the object, in {beside.mean():.0%} of the images with it: a spot mostly at "
        f"{x:.0%} from the left and {y:.0%} from the top, its most striking colour {colour}"
    )
    return [
        off_object,
        mark_finding(risk, removal, what, "mark_beside_object", parameters.n_resamples, seed),
    ]


def _look_at_marks(
    auditor: RiskAuditor,
    images: ImageTable,
    scores: pd.DataFrame,
    planted: pd.DataFrame,
    risk: str,
    place: int,
    parameters: RiskParams,
    seed: int,
) -> Finding | None:
    """Return a finding on the marks of a planted shortcut in test images; None where nothing is planted."""
    marked = planted[planted["defect"] == "shortcut"].set_index("image_id")["detail"]
    rows = scores[(scores["split"] == "test") & scores["image_id"].isin(marked.index)]
    rows = rows.head(parameters.located)
    if rows.empty:
        return None
    pictures = [images.pil(int(row)) for row in table_rows(images, rows)]
    boxes = [
        square_mask(marked[name], picture)
        for name, picture in zip(rows["image_id"], pictures, strict=True)
    ]
    marks = masks_as_seen(auditor.prepare, boxes, pictures)
    pixels = auditor.prepare(pictures).numpy()
    removal = _remove(
        auditor, pixels, marks, risk_maps(auditor, pixels, place)[1], place,
        rows["image_id"].to_numpy(str), rows[TARGET + risk].to_numpy() == 1,
    )  # fmt: skip
    what = f"a planted mark, {striking_colour(pixels, marks)}, in {len(removal)} test images"
    return mark_finding(risk, removal, what, "planted_mark", parameters.n_resamples, seed)


def _remove(
    auditor: RiskAuditor,
    pixels: np.ndarray,
    places: np.ndarray,
    probabilities: np.ndarray,
    place: int,
    image_ids: np.ndarray,
    has_risk: np.ndarray,
) -> Removal:
    """Return what hiding `places` does to the scores of a risk; `probabilities` are its heat before."""
    before, after, control = (
        risk_probabilities(auditor, each, place)
        for each in (pixels, hide(pixels, places), hide(pixels, elsewhere(places)))
    )
    return Removal(
        image_ids,
        has_risk,
        before,
        after,
        control,
        on_place=mass_on_mark(probabilities, places),
        area=places.mean(axis=(1, 2)),
    )


def _look_at_attributes(
    samples: pd.DataFrame, scores: pd.DataFrame, risk: Risk, parameters: RiskParams, seed: int
) -> list[Finding | None]:
    """Return findings on the attributes of the image table, but for the one that names the risk."""
    names = [name.removeprefix(ATTRIBUTE) for name in samples if name.startswith(ATTRIBUTE)]
    others = [name for name in names if name != risk.column]
    if not others:
        reason = f"the image table has no attributes beside {risk.name!r}"
        advice = "Name columns such as background or camera as attribute_columns of the source, and run from ingest on."
        return [not_checked(check, reason, advice) for check in ("risk_by_attribute", "data_bias")]
    table = scores.merge(
        samples[["image_id", *(ATTRIBUTE + name for name in others)]], on="image_id"
    )
    test, train = (table[table["split"] == split] for split in ("test", "train"))
    has_risk = test[TARGET + risk.name].to_numpy() == 1
    logits = test[f"logit/{risk.name}"].to_numpy()
    findings = []
    for name in others:
        values = test[ATTRIBUTE + name].to_numpy(object)
        findings += [
            score_finding(
                risk.name, name, logits, has_risk, values, test["image_id"].to_numpy(), seed
            ),
            data_finding(
                risk.name,
                name,
                (
                    train[ATTRIBUTE + name].to_numpy(object),
                    train[TARGET + risk.name].to_numpy() == 1,
                ),
                (values, has_risk),
                logits,
                parameters.n_resamples,
                seed,
            ),
        ]
    return findings


def _grid_side(auditor: RiskAuditor) -> int:
    """Return how many places a side of the frozen features has."""
    shape = auditor.encoder.shape
    return shape[-1] if len(shape) == 3 else round(shape[0] ** 0.5)
