"""Nodes of `risk` that compare risk maps with masks, list images to review, and plot galleries."""

import logging

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from glasshead.calibration.table import LABEL, class_columns
from glasshead.errors import SplitError
from glasshead.explainers.risk_maps import (
    COLUMNS,
    enlarged,
    hold_against_masks,
    load_localisation_images,
)
from glasshead.images.fitting import table_rows
from glasshead.images.table import ImageTable
from glasshead.models.risk import RiskAuditor
from glasshead.pipelines.risk.params import RiskParams
from glasshead.reporting.figures import plain
from glasshead.reporting.risk_gallery import Heated, risk_gallery_figure, scale_of
from glasshead.seeds import generator

logger = logging.getLogger(__name__)
Arrays = dict[str, np.ndarray]
SCALED = 2000  # test images whose maps determine the colour scale
TITLES = (
    "Highest risk, test images",
    "Lowest risk, test images",
    "Most uncertain, test images",
    "First to look at, images of all splits",
)


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
                "No test image with the risk %r has a mask, so its maps are not compared with masks",
                risk,
            )
    table = pd.concat(tables[1:] or tables, ignore_index=True)
    return table.astype(dict.fromkeys(COLUMNS, float))


def list_for_review(predictions: pd.DataFrame, parameters: RiskParams) -> pd.DataFrame:
    """Return the images to review, from all splits; those whose label has the lowest probability come first.

    Each image and risk has a row: rank, image_id, split, label, risk, has_risk, probability, surprise (-log2 of the
    label's probability, in bits) and why, the reason in words.
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
        parameters.localisation_images, random_state=generator(seed, "risk", "located", risk)
    ).sort_index()


def _test_rows(predictions: pd.DataFrame) -> pd.DataFrame:
    test = predictions[predictions["split"] == "test"].reset_index(drop=True)
    if test.empty:
        raise SplitError(
            "The test split is empty, so nothing can be evaluated. Run the preprocess pipeline again with a "
            "larger preprocess.test_fraction."
        )
    return test


def plot_galleries(
    auditor: RiskAuditor,
    images: ImageTable,
    predictions: pd.DataFrame,
    maps: Arrays,
    to_review: pd.DataFrame,
    parameters: RiskParams,
) -> tuple[Figure, Figure, Figure, Figure]:
    """Return galleries of the test images with the highest, lowest and most uncertain scores.

    The last gallery shows the first images of the list to review, from all splits.
    """
    test = predictions[predictions["split"] == "test"]
    scaled = test.iloc[:: max(1, -(-len(test) // SCALED))]
    scale = scale_of(_place_logits(auditor, _grids(maps, scaled)).numpy())
    blocks: dict[str, dict[str, list[Heated]]] = {title: {} for title in TITLES}
    for risk_index, risk in enumerate(auditor.classes):
        probability = test[f"probability/{risk}"].to_numpy()
        ids = to_review.loc[to_review["risk"] == risk, "image_id"].head(parameters.shown)
        chosen = [
            test.iloc[np.argsort(key, kind="stable")[: parameters.shown]]
            for key in (-probability, probability, np.abs(probability - 0.5))
        ]
        chosen.append(predictions.set_index("image_id", drop=False).loc[ids])
        for title, rows in zip(TITLES, chosen, strict=True):
            blocks[title][risk] = _heated(auditor, images, rows, maps, risk_index, risk)
    highest, lowest, uncertain, review = (
        risk_gallery_figure(title, own, scale) for title, own in blocks.items()
    )
    return highest, lowest, uncertain, review


def _heated(
    auditor: RiskAuditor,
    images: ImageTable,
    chosen: pd.DataFrame,
    maps: Arrays,
    risk_index: int,
    risk: str,
) -> list[Heated]:
    rows = table_rows(images, chosen)
    if not len(rows):
        return []
    pixels = auditor.prepare([images.pil(int(row)) for row in rows]).numpy()
    large = enlarged(_grids(maps, chosen), auditor.input_size)
    heat = _place_logits(auditor, large)[:, risk_index].numpy()
    captions = [
        f"{plain(row['image_id'], 30)}: {plain(row['label'])}\nP = {row[f'probability/{risk}']:.3f}"
        for _, row in chosen.iterrows()
    ]
    return [Heated(*image) for image in zip(pixels, heat, captions, strict=True)]


def _grids(maps: Arrays, chosen: pd.DataFrame) -> Float[Tensor, "n r h w"]:
    """Return the stored risk maps of these images."""
    stored = pd.Index(maps["image_id"]).get_indexer(pd.Index(chosen["image_id"]))
    return torch.from_numpy(maps["maps"][stored].astype(np.float32))


@torch.inference_mode()
def _place_logits(auditor: RiskAuditor, maps: Float[Tensor, "n r h w"]) -> Float[Tensor, "n r h w"]:
    return auditor.place_logits(maps)
