"""The graph of `train_transfer`, a template: only `fitting_samples` reaches a fit."""

from kedro.pipeline import Node, Pipeline

from glasshead.images.fitting import select_fitting_samples
from glasshead.models.inference import predict_majority
from glasshead.models.interpolation import Interpolation
from glasshead.models.stages import Architecture
from glasshead.pipelines.train_transfer.nodes import (
    fit_transfer,
    fit_variant,
    predict_logits,
)
from glasshead.pipelines.train_transfer.parent import pretrain_parent, pretrain_variant
from glasshead.reporting.training_figures import plot_training_history
from glasshead.training.phases import Strategy

Variant = tuple[Architecture, Strategy, Interpolation, int]


def parent_pipeline(architecture: Architecture | None = None) -> Pipeline:
    """transfer_parents → parent, parent_audit_log; of another architecture than the parameters' where one is given."""
    return Pipeline(
        [
            Node(
                pretrain_variant(architecture) if architecture else pretrain_parent,
                ["transfer_parents", "params:train_transfer", "params:seed"],
                ["parent", "parent_audit_log"],
                name="pretrain_parent",
            )
        ]
    )


def create_pipeline(variant: Variant | None = None) -> Pipeline:
    """images, samples, parent → uncalibrated, audit_log, step_log, logits, controls, training_history_figure.

    A comparison names architecture, strategy, interpolation and what is added to the seed, for each of its namespaces.
    """
    return Pipeline(
        [
            Node(
                select_fitting_samples,
                ["images", "samples"],
                "fitting_samples",
                name="select_fitting_samples",
            ),
            Node(
                fit_variant(*variant) if variant else fit_transfer,
                [
                    "images",
                    "fitting_samples",
                    "parent",
                    "checkpoints",
                    "params:train_transfer",
                    "params:seed",
                ],
                ["uncalibrated", "audit_log", "step_log"],
                name="fit_transfer",
            ),
            Node(
                predict_logits,
                ["uncalibrated", "images", "samples", "params:train_transfer"],
                "logits",
                name="predict_logits",
            ),
            Node(
                predict_majority,
                ["images", "fitting_samples"],
                "controls",
                name="predict_majority",
            ),
            Node(
                plot_training_history,
                "audit_log",
                "training_history_figure",
                name="plot_training_history",
            ),
        ]
    )
