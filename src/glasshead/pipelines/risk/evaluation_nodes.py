"""Nodes of `risk` that compare its maps with masks, and list images to review."""

import logging

import numpy as np
import pandas as pd

from glasshead.calibration.table import LABEL, class_columns
from glasshead.errors import SplitError
from glasshead.explainers.risk_maps import COLUMNS, hold_against_masks, load_localisation_images
from glasshead.images.table import ImageTable
from glasshead.models.risk import RiskAuditor
from glasshead.pipelines.risk.params import RiskParams
from glasshead.seeds import generator

logger = logging.getLogger(__name__)


def locate_risk(
    auditor: RiskAuditor,
    reference: RiskAuditor,
    images: ImageTable,
    predictions: pd.DataFrame,
    parameters: RiskParams,
    seed: int,
) -> pd.DataFrame:
    """Return how well maps agree with the masks of objects: image_id, risk, and a column for each measure.

    Each test image with a risk and a mask has a row; `hold_against_masks` describes the measures.
    """
    tables = [pd.DataFrame(columns=["image_id", "risk", *COLUMNS])]
    for risk_index, risk in enumerate(auditor.classes):
        rows = positives(_test_rows(predictions), risk, parameters, seed)
        localisation_images = load_localisation_images(
            images, rows, auditor.prepare, auditor.input_size
        )
        if len(localisation_images):
            agreement = hold_against_masks(auditor, reference, localisation_images, risk_index)
            tables.append(
                pd.DataFrame({"image_id": localisation_images.image_ids, "risk": risk, **agreement})
            )
        else:
            logger.warning(
                "No test image with %r has a mask, so its maps are not compared with any", risk
            )
    table = pd.concat(tables[1:] or tables, ignore_index=True)
    return table.astype(dict.fromkeys(COLUMNS, float))


def list_for_review(predictions: pd.DataFrame, parameters: RiskParams) -> pd.DataFrame:
    """Return the images of all splits to review; those whose label has the lowest probability come first.

    Each image and risk has a row: rank, image_id, split, label, risk, has_risk, probability, surprise (-log2 of the
    label's probability, in bits) and why.
    """
    tables = []
    for risk in class_columns(predictions, LABEL):
        has_risk = predictions[f"{LABEL}{risk}"].to_numpy() == 1
        probability = predictions[f"probability/{risk}"].to_numpy()
        of_label = np.where(has_risk, probability, 1 - probability)
        why = np.select(
            [has_risk & (probability < 0.5), ~has_risk & (probability >= 0.5)],
            ["labelled with the risk, scored without", "labelled without the risk, scored with"],
            "uncertain",
        )
        tables.append(
            predictions[["image_id", "split", "label"]].assign(
                risk=risk,
                has_risk=has_risk,
                probability=probability,
                surprise=-np.log2(np.maximum(of_label, 1e-12)),
                why=why,
            )
        )
    table = pd.concat(tables).sort_values(
        ["surprise", "image_id"], ascending=[False, True], ignore_index=True
    )
    table = table.head(parameters.reviewed)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table


def positives(test: pd.DataFrame, risk: str, parameters: RiskParams, seed: int) -> pd.DataFrame:
    """Return at most `localisation_images` randomly sampled test rows with a risk, in the table's order."""
    rows = test[test[f"{LABEL}{risk}"] == 1]
    if len(rows) <= parameters.localisation_images:
        return rows
    return rows.sample(
        parameters.localisation_images,
        random_state=generator(seed, "risk", "located", risk),
    ).sort_index()


def _test_rows(predictions: pd.DataFrame) -> pd.DataFrame:
    test = predictions[predictions["split"] == "test"].reset_index(drop=True)
    if test.empty:
        raise SplitError("the test split is empty, so there is nothing to evaluate")
    return test
