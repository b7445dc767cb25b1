"""Do maps change when the network forgets what it learned? Adebayo et al. 2018, arXiv:1810.03292."""

import copy
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

from glasshead.explainers.agreement import rank_correlation, structural_similarity
from glasshead.explainers.evidence import Measure
from glasshead.explainers.maps import Explainer, map_faults
from glasshead.seeds import stream_seed

# Methods that multiply by the image, such as Integrated Gradients, stay well above 0 whatever the weights are.
MAX_SIMILARITY = 0.7
Verdict = Literal["passes", "unresolved", "fails"]


@dataclass(frozen=True)
class Randomisation:
    """How alike |maps| are to those of the trained network, stage by stage; the last has no trained layer left.

    layers: (s,) the last layer that each stage randomised. rank_correlation: (s, n) Spearman's, in [-1, 1].
    ssim: (s, n) structural similarity, in [-1, 1]. NaN where the trained network's map is constant or not finite.
    """

    layers: tuple[str, ...]
    rank_correlation: Float64[np.ndarray, "s n"]
    ssim: Float64[np.ndarray, "s n"]


def randomisation_test(
    explainer: Explainer,
    model: nn.Module,
    images: Float[Tensor, "n 3 h w"],
    targets: Int[Tensor, " n"],
    seed: int,
    stages: int = 1,
    maps: Float[np.ndarray, "n h w"] | None = None,
) -> Randomisation:
    """Return how alike maps stay while layers of a copy of `model` are randomised, from the output down to the input.

    A layer's parameters are shuffled, each tensor in itself, so that their scale stays what it was. Layers are taken
    against the order in which the model registers them. A map that becomes constant or not finite has changed: 0.

    Args:
        stages: in how many the layers are randomised, each adding to those before; 1 is all at once.
        maps: those of the trained model, where they are known already.

    Raises ValueError unless there are between 1 and as many stages as layers with parameters.
    """
    layers = [name for name, layer in model.named_modules() if list(layer.parameters(False))]
    if not 1 <= stages <= len(layers):
        raise ValueError(f"{stages} stages are not between 1 and the {len(layers)} layers")
    trained = np.abs(explainer(model, images, targets) if maps is None else maps)
    changing = copy.deepcopy(model)
    correlations, similarities, last = [], [], []
    for names in np.array_split(layers[::-1], stages):
        for name in names.tolist():
            shuffle_parameters(changing.get_submodule(name), stream_seed(seed, "randomise", name))
        found = np.abs(explainer(changing, images, targets))
        useless = sum(map_faults(found).values()) > 0
        known = sum(map_faults(trained).values()) == 0
        correlation = rank_correlation(trained, found)
        correlations.append(np.where(useless & known, 0.0, correlation))
        similarity = structural_similarity(trained, found)
        similarities.append(np.where(known, np.where(useless, 0.0, similarity), np.nan))
        last.append(names[-1].item())
    return Randomisation(tuple(last), np.array(correlations), np.array(similarities))


@torch.no_grad()
def shuffle_parameters(layer: nn.Module, seed: int) -> None:
    """Shuffle each of the layer's own parameters in place, under `seed`."""
    draw = torch.Generator().manual_seed(seed)
    for parameter in layer.parameters(recurse=False):
        order = torch.randperm(parameter.numel(), generator=draw).to(parameter.device)
        parameter.copy_(parameter.flatten()[order].view_as(parameter))


def randomisation_verdict(randomisation: Measure, most: float = MAX_SIMILARITY) -> Verdict:
    """Return on which side of `most` the interval of the mean rank correlation with random weights lies.

    Below it a method passes, above it fails. Around it, or without an interval, it is unresolved. A method for which
    the correlation is undefined has not been shown to look at the network, and fails.
    """
    if randomisation["value"] is None:
        return "fails"
    low, high = randomisation["low"], randomisation["high"]
    if low is None or high is None or low < most <= high:
        return "unresolved"
    return "passes" if high < most else "fails"
