"""Risk maps at the size of the images, and their comparison with masks of objects."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from glasshead.calibration.table import LABEL, class_columns
from glasshead.explainers.baselines import centre_gaussian
from glasshead.explainers.cam import grad_cam
from glasshead.explainers.gradients import integrated_gradients
from glasshead.explainers.localisation import mask_iou, pointing_game, relevance_mass_accuracy
from glasshead.explainers.passes import Budget, in_passes
from glasshead.images.fitting import table_rows
from glasshead.images.pixels import Prepare, masks_as_seen
from glasshead.images.table import ImageTable
from glasshead.models.classifier import as_images
from glasshead.models.risk import RiskAuditor
from glasshead.training.risk import Localise

MEASURES: dict[str, Callable[..., np.ndarray]] = {
    "pointing_game": pointing_game,
    "iou": mask_iou,
    "relevance_mass_accuracy": relevance_mass_accuracy,
}
RIVALS = ("_activation", "_centre", "_grad_cam", "_grad_cam_own")
COLUMNS = tuple(f"{measure}{rival}" for measure in MEASURES for rival in ("", *RIVALS))
PASS = 64  # images in one pass
STEPS = 16  # points of Integrated Gradients; enough for the fraction on a mark


@dataclass(frozen=True)
class LocalisationImages:
    """Images with a risk and a known object: ids, pixels as the auditor reads them, and masks of the same size."""

    image_ids: np.ndarray
    pixels: UInt8[np.ndarray, "n 3 h w"]
    masks: Bool[np.ndarray, "n h w"]

    def __len__(self) -> int:
        return len(self.image_ids)


def load_localisation_images(
    images: ImageTable, rows: pd.DataFrame, prepare: Prepare, size: int
) -> LocalisationImages:
    """Return the images of those `rows` that have a mask of which some pixels remain after cropping.

    `size` is the side in pixels of prepared images.
    """
    masked = [(int(row), images.mask(int(row))) for row in table_rows(images, rows)]
    keep = [index for index, (_, mask) in enumerate(masked) if mask is not None and mask.any()]
    ids = np.array(rows["image_id"], dtype=str)[keep]
    if not keep:
        return LocalisationImages(
            ids, np.zeros((0, 3, size, size), np.uint8), np.zeros((0, size, size), bool)
        )
    pictures = [images.pil(masked[index][0]) for index in keep]
    masks = masks_as_seen(prepare, [masked[index][1] for index in keep], pictures)
    seen = masks.any(axis=(1, 2))
    return LocalisationImages(ids[seen], prepare(pictures).numpy()[seen], masks[seen])


def enlarged(maps: Float[Tensor, "n r h w"], size: int) -> Float[Tensor, "n r size size"]:
    """Return maps enlarged bilinearly to the size of the images."""
    return F.interpolate(maps, (size, size), mode="bilinear", align_corners=False)


def localiser(
    images: ImageTable, targets: pd.DataFrame, prepare: Prepare, size: int, most: int
) -> Localise:
    """Return a function that measures pointing_game and iou of risk maps; the maps have the rows of `targets`.

    Both are means over at most `most` images with the risk and a mask, for each risk, taken at equal steps from the
    table; None if there are no such images.
    """
    watched: list[tuple[int, np.ndarray, np.ndarray]] = []
    order = pd.Index(targets["image_id"])
    for risk_index, risk in enumerate(class_columns(targets, LABEL)):
        rows = targets[targets[LABEL + risk] == 1]
        rows = rows.iloc[:: max(1, -(-len(rows) // most))]
        localisation_images = load_localisation_images(images, rows, prepare, size)
        if len(localisation_images):
            watched.append(
                (
                    risk_index,
                    order.get_indexer(localisation_images.image_ids),
                    localisation_images.masks,
                )
            )

    def localise(maps: Float[Tensor, "n r h w"]) -> dict[str, float | None]:
        large = [
            (enlarged(maps[torch.from_numpy(rows)], size)[:, risk_index].numpy(), masks)
            for risk_index, rows, masks in watched
        ]
        return {
            name: float(np.nanmean(np.concatenate([measure(*pair) for pair in large])))
            if large
            else None
            for name, measure in (("pointing_game", pointing_game), ("iou", mask_iou))
        }

    return localise


def risk_maps(
    auditor: RiskAuditor, pixels: np.ndarray, risk_index: int
) -> tuple[Float[np.ndarray, "n h w"], Float[np.ndarray, "n h w"]]:
    """Return the maps of one risk at the size of the images, and the calibrated probabilities at each place."""
    maps = _in_passes(auditor, auditor.maps, pixels)
    with torch.inference_mode():
        probabilities = auditor.place_probabilities(maps)
    return maps[:, risk_index].numpy(), probabilities[:, risk_index].numpy()


def risk_probabilities(
    auditor: RiskAuditor, pixels: np.ndarray, risk_index: int
) -> Float[np.ndarray, " n"]:
    """Return the calibrated probability of one risk in each image."""

    @torch.inference_mode()
    def compute(batch: Tensor) -> Tensor:
        return auditor.probabilities(as_images(batch))[:, risk_index]

    probabilities: np.ndarray = in_passes(compute, PASS, torch.from_numpy(pixels)).numpy()
    return probabilities


def risk_attribution(
    auditor: RiskAuditor, pixels: np.ndarray, risk_index: int
) -> Float[np.ndarray, "n h w"]:
    """Return the magnitude of the Integrated Gradients of one risk's logit at each pixel, through the whole auditor."""
    images = as_images(torch.from_numpy(pixels))
    targets = torch.full((len(images),), risk_index)
    return np.abs(integrated_gradients(auditor, images, targets, Budget(steps=STEPS)).maps)


def hold_against_masks(
    auditor: RiskAuditor,
    reference: RiskAuditor,
    localisation_images: LocalisationImages,
    risk_index: int,
) -> dict[str, Float[np.ndarray, " n"]]:
    """Return how well maps of one risk agree with the masks: each measure for each kind of map, (n,).

    pointing_game, iou and relevance_mass_accuracy without a suffix measure the risk map. Suffixes name other maps:
    `_activation`, the activations before they are spread over similar places; `_centre`, a Gaussian at the centre;
    `_grad_cam`, Grad-CAM of the `reference`, an ordinary classifier on the same features; `_grad_cam_own`, Grad-CAM of
    the auditor. The mass of the risk map is computed from calibrated probabilities.
    """
    maps, probabilities = risk_maps(auditor, localisation_images.pixels, risk_index)
    images = as_images(torch.from_numpy(localisation_images.pixels))
    targets = torch.full((len(images),), risk_index)
    centre = centre_gaussian(auditor, images, targets, Budget()).maps
    every = {
        "": maps,
        "_activation": _activation(auditor, localisation_images.pixels, risk_index),
        "_centre": centre,
        "_grad_cam": grad_cam(reference, images, targets, Budget()).maps,
        "_grad_cam_own": grad_cam(auditor, images, targets, Budget()).maps,
    }
    columns = {
        f"{name}{rival}": measure(values.astype(np.float32), localisation_images.masks)
        for name, measure in MEASURES.items()
        for rival, values in every.items()
    }
    # Mass needs a meaningful zero, which probabilities have and the risk map's logits do not.
    return columns | {
        "relevance_mass_accuracy": relevance_mass_accuracy(probabilities, localisation_images.masks)
    }


def _activation(
    auditor: RiskAuditor, pixels: np.ndarray, risk_index: int
) -> Float[np.ndarray, "n h w"]:
    """Return the activations of one risk, before they are spread over similar places, at the size of the images."""

    def compute(images: Tensor) -> Tensor:
        return auditor.head.activations(auditor.features(images))

    return _in_passes(auditor, compute, pixels)[:, risk_index].numpy()


def _in_passes(
    auditor: RiskAuditor, compute: Callable[[Tensor], Tensor], pixels: np.ndarray
) -> Float[Tensor, "n r h w"]:
    """Return the maps that `compute` makes of images, enlarged to the size of the images."""

    @torch.inference_mode()
    def in_one(batch: Tensor) -> Tensor:
        return compute(as_images(batch))

    return enlarged(in_passes(in_one, PASS, torch.from_numpy(pixels)), auditor.input_size)
