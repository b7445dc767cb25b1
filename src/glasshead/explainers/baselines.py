"""Baselines: maps that ignore the classifier. A useful explanation method must beat them."""

import hashlib

import numpy as np
import torch
from scipy.ndimage import sobel

from glasshead.explainers.attribution import Explanation
from glasshead.explainers.passes import Budget, Images, Model, Targets
from glasshead.seeds import generator

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def centre_gaussian(
    classifier: Model, images: Images, targets: Targets, budget: Budget
) -> Explanation:
    """Return the same map (n, h, w) for all images: a Gaussian at the centre, its deviation a quarter of each side."""
    n, _, h, w = images.shape
    y, x = (np.arange(side) - (side - 1) / 2 for side in (h, w))
    bump = np.exp(-((y[:, None] / (h / 4)) ** 2 + (x / (w / 4)) ** 2) / 2)
    return Explanation(np.tile(bump.astype(np.float32), (n, 1, 1)))


def edge_detector(
    classifier: Model, images: Images, targets: Targets, budget: Budget
) -> Explanation:
    """Return the magnitude (n, h, w), at least 0, of the Sobel gradient of each image's luma."""
    luma = torch.einsum("nchw,c->nhw", images.cpu(), torch.tensor(LUMA)).numpy()
    return Explanation(
        np.stack([np.hypot(sobel(image, axis=0), sobel(image, axis=1)) for image in luma])
    )


def random_map(classifier: Model, images: Images, targets: Targets, budget: Budget) -> Explanation:
    """Return uniform noise (n, h, w) in [0, 1) that depends only on the budget's `seed` and on the image."""
    names = [hashlib.sha256(image.tobytes()).hexdigest() for image in images.cpu().numpy()]
    draws = [generator(budget.seed, "explain", "random", name) for name in names]
    return Explanation(
        np.stack([draw.random(images.shape[2:], dtype=np.float32) for draw in draws])
    )
