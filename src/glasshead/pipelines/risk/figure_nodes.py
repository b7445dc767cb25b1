"""The node of `risk` that plots galleries of images."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from glasshead.explainers.risk_maps import enlarged
from glasshead.images.fitting import table_rows
from glasshead.images.table import ImageTable
from glasshead.models.risk import RiskAuditor
from glasshead.pipelines.risk.params import RiskParams
from glasshead.reporting.figures import plain
from glasshead.reporting.risk_gallery import Heated, risk_gallery_figure, scale_of

Arrays = dict[str, np.ndarray]
SCALED = 2000  # test images whose maps determine the scale of colours


def plot_galleries(
    auditor: RiskAuditor,
    images: ImageTable,
    predictions: pd.DataFrame,
    maps: Arrays,
    to_review: pd.DataFrame,
    parameters: RiskParams,
) -> tuple[Figure, Figure, Figure, Figure]:
    """Return galleries of the test images with the highest, lowest and most uncertain scores.

    The last gallery shows the first images to review, of all splits.
    """
    test = predictions[predictions["split"] == "test"]
    scaled = test.iloc[:: max(1, -(-len(test) // SCALED))]
    scale = scale_of(_place_logits(auditor, _grids(maps, scaled)).numpy())

    def gallery(title: str, choose: Callable[[str], pd.DataFrame]) -> Figure:
        blocks = {
            risk: _heated(auditor, images, choose(risk), maps, risk_index, risk)
            for risk_index, risk in enumerate(auditor.classes)
        }
        return risk_gallery_figure(title, blocks, scale)

    def first(key: Callable[[str], Float[np.ndarray, " n"]]) -> Callable[[str], pd.DataFrame]:
        return lambda risk: test.iloc[np.argsort(key(risk), kind="stable")[: parameters.shown]]

    def listed(risk: str) -> pd.DataFrame:
        ids = to_review.loc[to_review["risk"] == risk, "image_id"].head(parameters.shown)
        return predictions.set_index("image_id", drop=False).loc[ids]

    highest = first(lambda risk: -test[f"probability/{risk}"].to_numpy())
    lowest = first(lambda risk: test[f"probability/{risk}"].to_numpy())
    uncertain = first(lambda risk: np.abs(test[f"probability/{risk}"].to_numpy() - 0.5))
    return (
        gallery("Highest risk, test images", highest),
        gallery("Lowest risk, test images", lowest),
        gallery("Most uncertain, test images", uncertain),
        gallery("First to look at, images of all splits", listed),
    )


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
