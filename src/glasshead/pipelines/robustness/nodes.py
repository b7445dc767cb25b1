"""The node of `robustness`, which reads only test rows."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int, UInt8
from pydantic import BaseModel, Field, NonNegativeFloat, PositiveInt
from torch import Tensor

from glasshead.audit.attacks import UNIT, Attack, fgsm, pgd
from glasshead.audit.corruptions import CORRUPTIONS, Corrupt
from glasshead.audit.robustness import CLEAN, Condition, robustness_table
from glasshead.device import Device, FittingBatches, choose_device, computing_on
from glasshead.errors import ModelError, ParameterError, SplitError
from glasshead.explainers.passes import frozen
from glasshead.images.fitting import check_fitted_on, rows_to_fit
from glasshead.images.pixels import PixelSource
from glasshead.images.table import ImageTable
from glasshead.models.classifier import Classifier, as_images
from glasshead.models.inference import logits_of
from glasshead.seeds import generator

logger = logging.getLogger(__name__)

Logits = Float[np.ndarray, "n k"]

Strengths = tuple[NonNegativeFloat, ...]
Qualities = tuple[Annotated[int, Field(ge=1, le=100)], ...]


class RobustnessParams(BaseModel, extra="forbid", frozen=True):
    """The number of test images, and the strengths of each perturbation; an empty list skips this perturbation.

    Attributes:
        images: the number of test images, sampled at random, the same for all perturbations.
        gaussian_noise: standard deviations of the noise, in 1/255.
        gaussian_blur: standard deviations of the blur, in percent of the shorter side.
        jpeg: JPEG qualities, from 1 to 100.
        fgsm, pgd: largest changes of a pixel value (epsilon) by these attacks, in 1/255.
        pgd_steps: steps of each PGD attack.
        batch_size: images in one pass of an attack; halved if a GPU runs out of memory.
        n_resamples: resamples of the bootstrap.
        device: the device that the classifier computes on.
    """

    images: PositiveInt = 300
    gaussian_noise: Strengths = (4, 8, 16, 32, 64)
    gaussian_blur: Strengths = (1, 2, 4, 8)
    jpeg: Qualities = (80, 50, 20, 10, 5)
    fgsm: Strengths = (1, 2, 4, 8)
    pgd: Strengths = (1, 2, 4, 8)
    pgd_steps: PositiveInt = 10
    batch_size: PositiveInt = 32
    n_resamples: PositiveInt = 1000
    device: Device = "auto"


def measure_robustness(
    classifier: Classifier,
    images: ImageTable,
    samples: pd.DataFrame,
    parameters: RobustnessParams,
    seed: int,
) -> pd.DataFrame:
    """Return accuracy, ECE and confidence of the calibrated classifier on clean and on changed test images.

    The columns are described in `robustness_table`. Noise, blur and JPEG act on the original picture, before it is
    resized; FGSM and PGD act on the pixels that the classifier reads.

    Attacks need gradients; of a classifier without them, only corruptions are measured.

    Raises:
        ArtifactError: the classifier was trained on other images or splits.
        ModelError: only a table of the classifier's outputs is known.
        SplitError: there is no test row.
        ParameterError: one image alone does not fit into memory.
    """
    images.check_rows(samples)
    check_fitted_on(classifier.provenance, images, rows_to_fit(samples))
    rows = _draw_rows(samples, parameters.images, seed)
    labels = pd.Index(classifier.classes).get_indexer(pd.Index(samples["label"].iloc[rows]))
    device = choose_device(parameters.device, "robustness.device")
    probabilities = {}
    tried = []
    if classifier.access != "table":
        tried.append(_corrupted_logits(classifier, images, rows, parameters, seed, device))
    if classifier.access == "gradient":
        tried.append(_attacked_logits(classifier, images, rows, labels, parameters, device))
    with _computing(classifier, device):
        for condition, logits in chain.from_iterable(tried):
            probabilities[condition] = classifier.calibrated(logits)
            right = (logits.argmax(axis=1) == labels).mean()
            logger.info("%s %g %s: accuracy %.3f", *condition, right)
    if not probabilities:
        raise ModelError(
            "Robustness cannot be measured, as only a table of the classifier's outputs is known. Read the classifier "
            "itself: a network, an ONNX file or a program."
        )
    return robustness_table(probabilities, labels, parameters.n_resamples, seed)


def _draw_rows(samples: pd.DataFrame, count: int, seed: int) -> Int[np.ndarray, " n"]:
    test = np.flatnonzero(samples["split"] == "test")
    if not len(test):
        raise SplitError(
            "Robustness cannot be measured, as the test split is empty. Run the preprocess pipeline again with "
            "a larger preprocess.test_fraction."
        )
    return np.sort(generator(seed, "robustness", "images").permutation(test)[:count])


def _corrupted_logits(
    classifier: Classifier,
    images: ImageTable,
    rows: Int[np.ndarray, " n"],
    parameters: RobustnessParams,
    seed: int,
    device: str,
) -> Iterator[tuple[Condition, Logits]]:
    """Yield the logits of clean and corrupted pictures; an image gets the same noise at every strength, only scaled."""
    names = images.ids().to_numpy()

    def take(
        corrupt: Corrupt, kind: str, strength: float, indices: Int[Tensor, " b"]
    ) -> UInt8[Tensor, "b 3 h w"]:
        pictures = [
            corrupt(images.pil(int(row)), strength, generator(seed, "robustness", kind, names[row]))
            for row in rows[indices.numpy()]
        ]
        return classifier.prepare(pictures)

    clean = PixelSource(images, rows, classifier.prepare)
    yield CLEAN, logits_of(classifier, clean, len(rows), device)
    for kind, (corrupt, unit) in CORRUPTIONS.items():
        for strength in map(float, getattr(parameters, kind)):
            corrupted = partial(take, corrupt, kind, strength)
            logits = logits_of(classifier, corrupted, len(rows), device)
            yield Condition(kind, strength, unit), logits


def _attacked_logits(
    classifier: Classifier,
    images: ImageTable,
    rows: Int[np.ndarray, " n"],
    labels: Int[np.ndarray, " n"],
    parameters: RobustnessParams,
    device: str,
) -> Iterator[tuple[Condition, Logits]]:
    """Yield the logits of the pixels that each attack produces."""
    take, targets = PixelSource(images, rows, classifier.prepare), torch.from_numpy(labels)
    batches = torch.arange(len(rows)).split(parameters.batch_size)
    fitting = FittingBatches(
        device, ParameterError, "Use a smaller classifier, or set robustness.device to cpu."
    )

    def logits(attack: Attack, pixels: Tensor, targets: Tensor) -> Tensor:
        attacked = attack(
            classifier.attacked_logits, as_images(pixels.to(device)), targets.to(device)
        )
        with torch.no_grad():
            return classifier(attacked).float().cpu()

    for condition, attack in _attacks(parameters):
        compute = partial(logits, attack)
        by_batch = [fitting(compute, take(batch), targets[batch]) for batch in batches]
        yield condition, torch.cat(by_batch).numpy()


def _attacks(parameters: RobustnessParams) -> Iterator[tuple[Condition, Attack]]:
    for epsilon in parameters.fgsm:
        yield Condition("fgsm", epsilon, UNIT), partial(fgsm, epsilon=epsilon / 255)
    for epsilon in parameters.pgd:
        attack = partial(pgd, epsilon=epsilon / 255, steps=parameters.pgd_steps)
        yield Condition("pgd", epsilon, UNIT), attack


@contextmanager
def _computing(classifier: Classifier, device: str) -> Iterator[None]:
    """Move the classifier to `device` and compute no gradients of its weights; undo both afterwards."""
    with computing_on(classifier, device), frozen(classifier):
        yield
