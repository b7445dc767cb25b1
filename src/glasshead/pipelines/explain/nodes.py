"""Nodes of `explain`: choose test images, explain their predicted classes, measure the explanations."""

import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from glasshead.device import choose_device, computing_on
from glasshead.errors import ArtifactError
from glasshead.explainers.agreement import mean_agreement, rank_correlation, top_overlap
from glasshead.explainers.attribution import Attribution, Explanation, explanation_of
from glasshead.explainers.cost import passes
from glasshead.explainers.evaluation import ExplainedImages, measure_method
from glasshead.explainers.examples import choose_balanced
from glasshead.explainers.faithfulness import Noise, noise_response
from glasshead.explainers.measures import Measure, completeness, summarise
from glasshead.explainers.methods import METHODS, real_methods
from glasshead.explainers.passes import Budget, without_gradients
from glasshead.explainers.randomisation import randomised_copy
from glasshead.images.pixels import masks_as_seen, square_mask
from glasshead.images.table import ImageTable, check_predictions
from glasshead.models.classifier import Classifier, access_of, as_images
from glasshead.models.packed import is_convolutional
from glasshead.pipelines.explain.params import ExplainParams
from glasshead.pipelines.explain.plan_nodes import divided
from glasshead.seeds import generator

logger = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]
GAP_WARNING = 0.05  # least gap for a warning, as a fraction of the explained change of the logit


class _Clock:
    """Logs how long each method took, and about how long the others will take, by the `shares` of all methods."""

    def __init__(self, shares: dict[str, float]) -> None:
        self._shares, self._done = shares, 0.0
        self._started = self._last = time.perf_counter()

    def passed(self, name: str, what: str) -> None:
        """Log that `what` is done with the method `name`."""
        now = time.perf_counter()
        self._done += self._shares[name]
        left = sum(self._shares.values()) - self._done
        seconds = (now - self._started) * left / self._done if self._done else 0.0
        logger.info("%s %s in %.1f s, about %.0f s left", name, what, now - self._last, seconds)
        self._last = now


def choose_examples(
    images: ImageTable,
    samples: pd.DataFrame,
    predictions: pd.DataFrame,
    parameters: ExplainParams,
    plan: dict[str, Any],
    seed: int,
) -> pd.DataFrame:
    """Return the test rows to explain: image_id, label, predicted, confidence, correct; mistakes come first.

    `shown` rows appear in figures, see `choose_balanced`. `measured` rows are a random sample of the test split, so
    that measures on them hold for the whole split.

    Raises ArtifactError if `predictions` were made from other samples or images than the given ones.
    """
    parameters = divided(parameters, plan["divisor"])
    check_predictions(images, samples, predictions)
    test = predictions[predictions["split"] == "test"]
    test = test[["image_id", "label", "predicted", "confidence"]]
    test = test.assign(correct=test["label"] == test["predicted"])
    shown = choose_balanced(test, parameters.images, generator(seed, "explain", "examples"))
    count = min(parameters.evaluation.images, len(test))
    measured = test.sample(count, random_state=generator(seed, "explain", "measured"))
    test = test.assign(shown=test.index.isin(shown.index), measured=test.index.isin(measured.index))
    chosen = test[test["shown"] | test["measured"]]
    return chosen.sort_values(["correct", "label", "image_id"], ignore_index=True)


def prepare_examples(
    classifier: Classifier, images: ImageTable, examples: pd.DataFrame, planted: pd.DataFrame
) -> Arrays:
    """Return the images as the classifier sees them, with the masks of objects and marks.

    Arrays: image_id (n,); pixels (n, 3, h, w) uint8; masks (n, h, w) bool, of the object if known; marks (n, h, w)
    bool, of a planted shortcut.
    """
    rows = pd.Index(images.frame()["image_id"]).get_indexer(examples["image_id"])
    marked = planted[planted["defect"] == "shortcut"].set_index("image_id")["detail"]
    pixels: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    marks: list[np.ndarray] = []
    for name, row in zip(examples["image_id"], rows.tolist(), strict=True):
        picture = images.pil(row)  # one at a time: they may be large
        pixels.append(classifier.prepare([picture])[0].numpy())
        mark = square_mask(marked.get(name), picture)
        for seen, mask in ((masks, images.mask(row)), (marks, mark)):
            seen.append(masks_as_seen(classifier.prepare, [mask], [picture])[0])
    return {
        "image_id": _strings(examples["image_id"]),
        "pixels": np.stack(pixels),
        "masks": np.stack(masks),
        "marks": np.stack(marks),
    }


def explain_pixels(
    classifier: Classifier,
    example_images: Arrays,
    examples: pd.DataFrame,
    parameters: ExplainParams,
    plan: dict[str, Any],
    seed: int,
) -> Arrays:
    """Return each method's explanation of the predicted class's raw logit, through the whole classifier.

    Arrays: image_id, predicted (n,); methods (k,), those that apply; for each of them `<method>` (r, h, w), or (r, 3,
    h, w) by channel, float32 in the method's unit; `<method>/rows` (r,), the images that the method explained;
    `<method>/seconds`, the wall-clock time for each image after a warm-up; if contributions must add up,
    `<method>/base` and `<method>/output` (r,), both logits. not_applicable (m, 2): the other methods, with the reason.
    """
    parameters = divided(parameters, plan["divisor"])
    device = choose_device(parameters.device, "explain.device")
    images, targets = _as_inputs(classifier, example_images, examples, device)
    budget = parameters.budget.for_images(images, seed)
    drawn = _in_random_order(examples, seed)
    reasons = {name: METHODS[name].applies_to(classifier) for name in parameters.methods}
    rows_of: dict[str, Int[np.ndarray, " r"]] = {}
    for name, count in parameters.methods.items():
        if reasons[name]:
            logger.info("%s is not applicable: %s", name, reasons[name])
        else:
            rows_of[name] = np.arange(len(examples)) if count is None else np.sort(drawn[:count])
    side = classifier.input_size
    clock = _Clock(
        {name: METHODS[name].passes(budget, side) * len(rows) for name, rows in rows_of.items()}
    )
    arrays: Arrays = {}
    with computing_on(classifier, device):
        for name, rows in rows_of.items():
            METHODS[name](classifier, images[rows[:1]], targets[rows[:1]], budget)
            started = time.perf_counter()
            explained = METHODS[name](classifier, images[rows], targets[rows], budget)
            seconds = (time.perf_counter() - started) / len(rows)
            arrays |= _as_arrays(name, explained) | {
                f"{name}/rows": rows,
                f"{name}/seconds": np.array(seconds),
            }
            _warn_of_gaps(name, explained, budget)
            clock.passed(name, "explained")
    applied = [name for name, reason in reasons.items() if not reason]
    left_out = [(name, reason) for name, reason in reasons.items() if reason]
    return (
        identity(examples)
        | arrays
        | {
            "methods": np.array(applied, dtype=str),
            "not_applicable": np.array(left_out, dtype=str).reshape(-1, 2),
        }
    )


def measure_explanations(
    classifier: Classifier,
    example_images: Arrays,
    examples: pd.DataFrame,
    attributions: Arrays,
    parameters: ExplainParams,
    plan: dict[str, Any],
    seed: int,
    shapley: Arrays | None = None,
) -> dict[str, dict[str, Measure]]:
    """Return `{method: {measure: {value, low, high, better, n}}}`; with concepts, also for Shapley values.

    Methods are measured on the `measured` images; slow methods only on those that they explained. `n` counts these
    images.
    """
    parameters = divided(parameters, plan["divisor"])
    device = choose_device(parameters.device, "explain.device")
    images, targets = _as_inputs(classifier, example_images, examples, device)
    budget = parameters.budget.for_images(images, seed)
    masks, marks = example_images["masks"], example_images["marks"]
    explanations: dict[str, dict[str, Measure]] = {}
    maps: dict[str, np.ndarray] = {}
    noise = Noise(seed, parameters.evaluation.infidelity_samples)
    drawn = _in_random_order(examples, seed)
    evaluation, side = parameters.evaluation, classifier.input_size
    clock = _Clock(
        {
            name: passes({name: evaluation.images}, 0, budget, evaluation, side)
            for name in attributions["methods"].tolist()
        }
    )
    with computing_on(classifier, device):
        falls = np.full((len(examples), noise.samples), np.nan)
        if access_of(classifier) != "table":
            falls[drawn] = noise_response(
                without_gradients(classifier),
                images[drawn],
                targets[drawn],
                drawn,
                noise,
                budget.batch_size,
            )
        subject = ExplainedImages(images, targets, masks, marks, np.arange(len(examples)), falls)
        weights = next(classifier.parameters(), None)
        randomised = None if weights is None else randomised_copy(classifier, seed)
        for name in attributions["methods"].tolist():
            rows = drawn[np.isin(drawn, attributions[f"{name}/rows"])]
            explained = explanation_of(attributions, name, rows)
            explanations[name] = measure_method(
                METHODS[name], classifier, randomised, subject.at(rows), explained, budget,
                parameters.evaluation, parameters.n_resamples, seed,
            )  # fmt: skip
            seconds, count = attributions[f"{name}/seconds"], len(attributions[f"{name}/rows"])
            explanations[name]["seconds_per_image"] = Measure(
                value=float(seconds), low=None, high=None, better="lower", n=count
            )
            clock.passed(name, "measured")
            maps[name] = np.full((len(examples), *explained.maps.shape[1:]), np.nan)
            maps[name][rows] = explained.maps
    for name, values in _agreement({name: own[drawn] for name, own in maps.items()}).items():
        explanations[name] |= summarise(values, parameters.n_resamples, seed)
    if shapley is not None:
        explained = Attribution(shapley["values"], shapley["base"], shapley["output"])
        explanations["shapley"] = completeness(explained, parameters.n_resamples, seed)
    return explanations


def class_indices(classes: Sequence[str], names: pd.Series) -> Int[Tensor, " n"]:
    """Return the index of each class name among the logits; ArtifactError for an unknown one."""
    indices = pd.Index(classes).get_indexer(pd.Index(names))
    if unknown := names[indices < 0].tolist():
        raise ArtifactError(
            f"The classifier has no class {unknown[0]!r}: it was trained on other data. Run its training, "
            "calibrate and evaluate pipelines again on the current data."
        )
    return torch.from_numpy(indices.astype(np.int64))


def _in_random_order(examples: pd.DataFrame, seed: int) -> Int[np.ndarray, " m"]:
    """Return the measured rows in random order; slow methods and measures use only the first ones."""
    measured = np.flatnonzero(examples["measured"])
    return generator(seed, "explain", "subsample").permutation(measured)


def _agreement(maps: dict[str, Float[np.ndarray, "n h w"]]) -> dict[str, Arrays]:
    """Return for each method how similar its maps are to those of the other methods, without baselines."""
    compared = {"rank_agreement": rank_correlation, "top_agreement": top_overlap}
    agreements = {
        measure: mean_agreement(maps, compare, among=real_methods(maps))
        for measure, compare in compared.items()
    }
    return {
        name: {measure: by_method[name] for measure, by_method in agreements.items()}
        for name in maps
    }


def _as_inputs(
    classifier: Classifier, example_images: Arrays, examples: pd.DataFrame, device: str
) -> tuple[Tensor, Tensor]:
    # convolutions are faster where the values of a pixel lie side by side
    layout = torch.channels_last if is_convolutional(classifier) else torch.preserve_format
    pixels = torch.from_numpy(example_images["pixels"]).to(device, memory_format=layout)
    images = as_images(pixels)
    return images, class_indices(classifier.classes, examples["predicted"]).to(device)


def _as_arrays(name: str, explained: Explanation) -> Arrays:
    arrays = {name: explained.values.astype(np.float32)}
    if isinstance(explained, Attribution):
        arrays |= {f"{name}/base": explained.base, f"{name}/output": explained.output}
    return arrays


def _warn_of_gaps(name: str, explained: Explanation, budget: Budget) -> None:
    if name != "integrated_gradients" or not isinstance(explained, Attribution):
        return
    missed = explained.gap.sum() / np.abs(explained.output - explained.base).sum()
    if missed > GAP_WARNING:
        logger.warning(
            "The contributions of Integrated Gradients miss %.0f %% of the logit changes that they explain. Raise "
            "explain.budget.steps above %d.",
            100 * missed, budget.steps,
        )  # fmt: skip


def identity(examples: pd.DataFrame) -> Arrays:
    """Return image_id and predicted (n,), which say what the rows of explanation arrays belong to."""
    return {name: _strings(examples[name]) for name in ("image_id", "predicted")}


def _strings(column: pd.Series) -> NDArray[np.str_]:
    return np.array(column, dtype=str)
