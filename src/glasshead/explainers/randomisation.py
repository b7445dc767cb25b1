"""The sanity check: do maps change when the weights are randomised? Adebayo et al. 2018, arXiv:1810.03292."""

import copy
from collections.abc import Iterable, Mapping
from typing import Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import nn

from glasshead.explainers.agreement import rank_correlation, structural_similarity
from glasshead.explainers.maps import map_faults
from glasshead.explainers.measures import Measure
from glasshead.seeds import stream_seed

Module = TypeVar("Module", bound=nn.Module)
Verdict = Literal["passes", "unresolved", "fails"]

# For methods that multiply by the image, such as Integrated Gradients, maps stay similar whatever the weights are.
MAX_SIMILARITY = 0.7


def randomised_copy(model: Module, seed: int) -> Module:
    """Return a copy of `model` with its weights shuffled; `seed` determines the order.

    The values of each parameter tensor are shuffled within this tensor, so that their distribution is unchanged.
    """
    changed = copy.deepcopy(model)
    for name, layer in changed.named_modules():
        shuffle_parameters(layer, stream_seed(seed, "randomise", name))
    return changed


def map_similarity(
    trained: Float[np.ndarray, "n h w"], randomised: Float[np.ndarray, "n h w"]
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Return the similarity (n,) of randomised to trained |maps|, twice: Spearman's rank correlation, and SSIM.

    Both are in [-1, 1]. They are 0 if the map of the randomised network is constant or not finite, and NaN if the map
    of the trained network is.
    """
    trained, randomised = np.abs(trained), np.abs(randomised)
    useless = sum(map_faults(randomised).values()) > 0
    known = sum(map_faults(trained).values()) == 0
    correlation = np.where(useless & known, 0.0, rank_correlation(trained, randomised))
    similarity = np.where(useless, 0.0, structural_similarity(trained, randomised))
    return correlation, np.where(known, similarity, np.nan)


@torch.no_grad()
def shuffle_parameters(layer: nn.Module, seed: int) -> None:
    """Shuffle each of the layer's own parameters in place, under `seed`."""
    draw = torch.Generator().manual_seed(seed)
    for parameter in layer.parameters(recurse=False):
        order = torch.randperm(parameter.numel(), generator=draw).to(parameter.device)
        parameter.copy_(parameter.flatten()[order].view_as(parameter))


def randomisation_verdict(randomisation: Measure, most: float = MAX_SIMILARITY) -> Verdict:
    """Return the verdict on a method, from the interval of `randomisation`, its mean rank correlation.

    The method passes if the interval lies below `most`, and fails if it lies above `most` or if the correlation is
    undefined. The verdict is unresolved if the interval contains `most` or is missing.
    """
    if randomisation["value"] is None:
        return "fails"
    low, high = randomisation["low"], randomisation["high"]
    if low is None or high is None or low < most <= high:
        return "unresolved"
    return "passes" if high < most else "fails"


SanityCheck = Literal["passes", "unresolved", "not checked", "fails"]
Measures = Mapping[str, Mapping[str, Measure]]  # method to measure name to measure

# best first
SANITY_CHECKS: tuple[SanityCheck, ...] = ("passes", "unresolved", "not checked", "fails")


def sanity_check(name: str, measures: Measures) -> SanityCheck:
    """Return the method's result in the parameter-randomisation check."""
    own = measures.get(name, {})
    return randomisation_verdict(own["randomisation"]) if "randomisation" in own else "not checked"


def best_methods(names: Iterable[str], measures: Measures, most: int) -> list[str]:
    """Return the best `most` of `names`: first by result in the sanity check, then by insertion AUC, highest first.

    Methods without an insertion AUC come last.
    """
    ranked = sorted(names, key=lambda name: (_rank(name, measures), -insertion(name, measures)))
    return [name for name in ranked if _rank(name, measures) == _rank(ranked[0], measures)][:most]


def insertion(name: str, measures: Measures) -> float:
    """Return the method's insertion AUC, or minus infinity if it is unknown."""
    measure = measures.get(name, {}).get("insertion_auc")
    return float("-inf") if measure is None or measure["value"] is None else measure["value"]


def _rank(name: str, measures: Measures) -> int:
    return SANITY_CHECKS.index(sanity_check(name, measures))
