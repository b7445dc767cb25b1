"""Helpers to write pipelines as tables, and the nodes that all trainings and comparisons on pixels share."""

from collections.abc import Callable, Iterable
from typing import Any

from kedro.pipeline import Node, Pipeline

from glasshead.deferred import deferred

with deferred(__name__):
    from glasshead.images.fitting import predict_majority, select_fitting_samples
    from glasshead.models.inference import predict_logits
    from glasshead.models.variants import measure_variants
    from glasshead.reporting.training_figures import plot_training_history


Names = str | list[str] | dict[str, str] | None


def step(function: Callable[..., Any], inputs: Names, outputs: Names) -> Node:
    """Return a node with its function's name; one string may name several datasets, separated by spaces."""
    return Node(function, _split(inputs), _split(outputs), name=function.__name__)


def steps(*rows: tuple[Callable[..., Any], Names, Names]) -> Pipeline:
    """Return the pipeline with one node for each row `(function, inputs, outputs)`."""
    return Pipeline([step(*row) for row in rows])


def _split(names: Names) -> Names:
    return names.split() if isinstance(names, str) and " " in names else names


SELECTION = step(select_fitting_samples, "images samples", "fitting_samples")
MAJORITY = step(predict_majority, "images fitting_samples", "baselines")
HISTORY = step(plot_training_history, "training_history", "training_history_figure")


def training_on_pixels(fit: Node, parameters: str, baselines: Node = MAJORITY) -> Pipeline:
    """Return the template of a training on `images` and `samples`.

    Its outputs are those of `fit`, and `fitting_samples`, `logits` and `baselines`. If `fit` has an output
    `training_history`, that history is plotted too.
    """
    predict = step(predict_logits, f"uncalibrated images samples {parameters}", "logits")
    histories = [HISTORY] if "training_history" in fit.outputs else []
    return Pipeline([SELECTION, fit, predict, baselines, *histories])


def comparison_on_pixels(nodes: Iterable[Node], parameters: str) -> Pipeline:
    """Return the template of a comparison: `nodes`, one of which has the output `histories`, and a node that measures.

    The last node's output `runs` holds a row for each variant.
    """
    measure = step(
        measure_variants,
        f"images samples variants histories {parameters} params:calibrate params:evaluate",
        "runs",
    )
    return Pipeline([SELECTION, *nodes, measure])
