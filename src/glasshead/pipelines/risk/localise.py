"""Where risk maps point, held against the masks of objects, where these are known."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from glasshead.explainers.localisation import mask_iou, pointing_game
from glasshead.images.fitting import table_rows
from glasshead.images.pixels import Prepare
from glasshead.images.risks import TARGET
from glasshead.images.seen import masks_as_seen
from glasshead.images.table import ImageTable
from glasshead.training.risk import Localise


@dataclass(frozen=True)
class Located:
    """Images with a risk and a known object: ids, pixels as the auditor reads them, masks at the same size."""

    image_ids: NDArray[np.str_]
    pixels: UInt8[np.ndarray, "n 3 h w"]
    masks: Bool[np.ndarray, "n h w"]

    def __len__(self) -> int:
        return len(self.image_ids)


def load_located(images: ImageTable, rows: pd.DataFrame, prepare: Prepare, size: int) -> Located:
    """Return those of `rows` that have a mask; masks that the crop leaves nothing of do not count.

    `size` is the side in pixels of what `prepare` gives.
    """
    found = [(int(row), images.mask(int(row))) for row in table_rows(images, rows)]
    keep = [place for place, (_, mask) in enumerate(found) if mask is not None and mask.any()]
    ids = rows["image_id"].to_numpy(str)[keep]
    if not keep:
        return Located(ids, np.zeros((0, 3, size, size), np.uint8), np.zeros((0, size, size), bool))
    pictures = [images.pil(found[place][0]) for place in keep]
    masks = masks_as_seen(prepare, [found[place][1] for place in keep], pictures)
    seen = masks.any(axis=(1, 2))
    return Located(ids[seen], prepare(pictures).numpy()[seen], masks[seen])


def enlarged(maps: Float[Tensor, "n h w"], size: int) -> Float[Tensor, "n size size"]:
    """Return maps at the size of the images, bilinear."""
    return F.interpolate(maps[:, None], (size, size), mode="bilinear", align_corners=False)[:, 0]


def localiser(
    images: ImageTable, targets: pd.DataFrame, prepare: Prepare, size: int, most: int
) -> Localise:
    """Return what measures where the maps of the rows of `targets` point: pointing_game and iou.

    Means over the images with a risk and a mask, `most` of each risk, evenly spaced; None where there is none.
    """
    watched: list[tuple[int, np.ndarray, np.ndarray]] = []
    order = pd.Index(targets["image_id"])
    for place, column in enumerate(name for name in targets if name.startswith(TARGET)):
        rows = targets[targets[column] == 1]
        rows = rows.iloc[:: max(1, -(-len(rows) // most))]
        located = load_located(images, rows, prepare, size)
        if len(located):
            watched.append((place, order.get_indexer(located.image_ids), located.masks))

    def localise(maps: Float[Tensor, "n r h w"]) -> dict[str, float | None]:
        large = [
            (enlarged(maps[torch.from_numpy(rows), place], size).numpy(), masks)
            for place, rows, masks in watched
        ]
        return {
            name: float(np.nanmean(np.concatenate([measure(*each) for each in large])))
            if large
            else None
            for name, measure in (("pointing_game", pointing_game), ("iou", mask_iou))
        }

    return localise
