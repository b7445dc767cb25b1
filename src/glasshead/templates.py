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
    "controls",
    name="predict_majority",
)
HISTORY = Node(
    plot_training_history,
    "audit_log",
    "training_history_figure",
    name="plot_training_history",
)


def training_on_pixels(fit: Node, parameters: str, controls: Node = MAJORITY) -> Pipeline:
    """Return the template of a training: images, samples → what `fit` leaves, fitting_samples, logits, controls.

    A fit that leaves an audit_log gets a figure of it.
    """
    predict = Node(
        predict_logits,
        ["uncalibrated", "images", "samples", parameters],
        "logits",
        name="predict_logits",
    )
    histories = [HISTORY] if "audit_log" in fit.outputs else []
    return Pipeline([SELECTION, fit, predict, controls, *histories])


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
