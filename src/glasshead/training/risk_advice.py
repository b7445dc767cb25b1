"""Advice on faults in the training of a risk head."""

import numpy as np
from jaxtyping import Float
from torch import Tensor

from glasshead.training.risk import RiskTraining

COLLAPSED = 0.01  # standard deviation of the logits of images
FLAT = 0.1  # fraction of a map's variance that is between the places of an image
RARE = 0.05  # fraction of images with a risk, or without it


def advise(
    risks: tuple[str, ...],
    logits: Float[Tensor, "n r"],
    activations: Float[Tensor, "n r h w"],
    labels: Float[Tensor, "m r"],
    params: RiskTraining,
) -> list[str]:
    """Return a line for each fault; logits and activations are of validation rows, labels of train rows."""
    lines = []
    for index, risk in enumerate(risks):
        fraction = labels[:, index].mean().item()
        flat = within_fraction(activations[:, index].numpy())
        if logits[:, index].std(correction=0).item() < COLLAPSED:
            lines.append(
                f"{risk}: collapse, all images get the same logit. Raise risk.training.losses.ranking or the "
                "learning rate, and check whether the risk is visible in images with the label."
            )
        elif flat < FLAT:
            lines.append(
                f"{risk}: flat maps, {flat:.0%} of their variance is between the places of an image. Raise "
                "risk.training.losses.patch, or set risk.head.pooling=top_k_mean."
            )
        if min(fraction, 1 - fraction) < RARE and params.resample == "none":
            lines.append(
                f"{risk}: imbalance, {fraction:.1%} of the train images have the risk. Set "
                "risk.training.resample=balanced."
            )
    return lines


def within_fraction(maps: Float[np.ndarray, "n h w"]) -> float:
    """Return the fraction of the maps' variance that is between the places of a map, in [0, 1]; 0 if constant."""
    total = float(maps.var())
    return float(maps.var(axis=(1, 2)).mean()) / total if total else 0.0
