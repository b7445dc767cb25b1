"""The node of `explain` that plans how many images, samples and steps keep to the limit of time."""

import logging
from typing import Any

from glasshead.explainers.cost import DIVISORS, OPERATIONS, forward_operations, passes, reduced
from glasshead.explainers.methods import METHODS
from glasshead.models.classifier import Classifier
from glasshead.pipelines.explain.params import ExplainParams
from glasshead.reporting.wording import plan_in_words

logger = logging.getLogger(__name__)


def plan_explanations(classifier: Classifier, parameters: ExplainParams) -> dict[str, Any]:
    """Return how counts are reduced to keep to `seconds`, by the operations of the classifier, as JSON values.

    Keys: seconds; divisor, by which counts are divided; operations, floating-point ones of all maps and measures then;
    cut, for each reduced count its name, the wanted and the planned one.
    """
    side = classifier.input_size
    applied = {
        name: count
        for name, count in parameters.methods.items()
        if METHODS[name].applies_to(classifier) is None
    }
    forward = forward_operations(classifier, side)
    for divisor in DIVISORS:
        planned = divided(parameters, divisor)
        count = passes(applied, planned.images, planned.budget, planned.evaluation, side)
        operations = count * forward
        if parameters.seconds is None or operations <= parameters.seconds * OPERATIONS:
            break
    cut = _differences(parameters.model_dump(mode="json"), planned.model_dump(mode="json"))
    logger.info(
        "Maps and their measures take about %.0f passes of an image of %d pixels a side, %.2g operations",
        *(count, side, operations),
    )
    if cut:
        logger.warning(
            "explain.seconds = %g: %s. Raise explain.seconds for more, or set it to null.",
            parameters.seconds,
            plan_in_words(cut),
        )
    if parameters.seconds and operations > parameters.seconds * OPERATIONS:
        times = operations / parameters.seconds / OPERATIONS
        logger.warning("Maps and their measures still take about %.1f times explain.seconds", times)
    return {
        "seconds": parameters.seconds,
        "operations": operations,
        "divisor": divisor,
        "cut": cut,
    }


def divided(parameters: ExplainParams, divisor: float) -> ExplainParams:
    """Return the parameters with their counts divided by `divisor`, as `reduced` does."""
    blocks = {name: getattr(parameters, name) for name in ("budget", "evaluation")}
    smaller = {name: reduced(block, divisor) for name, block in blocks.items()}
    return reduced(parameters, divisor).model_copy(update=smaller)


def _differences(
    before: dict[str, Any], after: dict[str, Any], prefix: str = "explain."
) -> list[list[Any]]:
    """Return name, old and new value of each setting that differs, in order."""
    changed: list[list[Any]] = []
    for name, value in before.items():
        if isinstance(value, dict):
            changed += _differences(value, after[name], f"{prefix}{name}.")
        elif value != after[name]:
            changed.append([prefix + name, value, after[name]])
    return changed
