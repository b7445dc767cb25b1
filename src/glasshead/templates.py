"""What trainings on pixels share: the nodes around a fit, and around a comparison of several."""

from collections.abc import Iterable

from kedro.pipeline import Node, Pipeline

from glasshead.images.fitting import predict_majority, select_fitting_samples
from glasshead.models.inference import predict_logits
from glasshead.models.variants import measure_variants
from glasshead.reporting.training_figures import plot_training_history

SELECTION = Node(
    select_fitting_samples,
    ["images", "samples"],
    "fitting_samples",
    name="select_fitting_samples",
)
MAJORITY = Node(
    predict_majority,
    ["images", "fitting_samples"],
    "baselines",
    name="predict_majority",
)
HISTORY = Node(
    plot_training_history,
    "training_history",
    "training_history_figure",
    name="plot_training_history",
)


def training_on_pixels(fit: Node, parameters: str, baselines: Node = MAJORITY) -> Pipeline:
    """Return the template of a training: images, samples → what `fit` leaves, fitting_samples, logits, baselines.

    A fit that leaves a training_history gets a figure of it.
    """
    predict = Node(
        predict_logits,
        ["uncalibrated", "images", "samples", parameters],
        "logits",
        name="predict_logits",
    )
    histories = [HISTORY] if "training_history" in fit.outputs else []
    return Pipeline([SELECTION, fit, predict, baselines, *histories])


def comparison_on_pixels(nodes: Iterable[Node], parameters: str) -> Pipeline:
    """Return the template of a comparison: `nodes`, of which one leaves histories, and what makes runs of them."""
    measure = Node(
        measure_variants,
        [
            "images",
            "samples",
            "variants",
            "histories",
            parameters,
            "params:calibrate",
            "params:evaluate",
        ],
        "runs",
        name="measure_variants",
    )
    return Pipeline([SELECTION, *nodes, measure])
