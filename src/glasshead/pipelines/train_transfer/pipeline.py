"""The graph of `train_transfer`, a template: only `fitting_samples` reaches a fit."""

from kedro.pipeline import Node, Pipeline

from glasshead.images.fitting import select_fitting_samples
from glasshead.models.inference import predict_majority
from glasshead.pipelines.train_transfer.nodes import (
    fit_transfer,
    predict_logits,
)
from glasshead.pipelines.train_transfer.parent import pretrain_parent
from glasshead.reporting.training_figures import plot_training_history


def parent_pipeline() -> Pipeline:
    """transfer_parents → parent, parent_audit_log."""
    return Pipeline(
        [
            Node(
                pretrain_parent,
                ["transfer_parents", "params:train_transfer", "params:seed"],
                ["parent", "parent_audit_log"],
                name="pretrain_parent",
            )
        ]
    )


def create_pipeline() -> Pipeline:
    """images, samples, parent → uncalibrated, audit_log, step_log, logits, controls, training_history_figure."""
    return Pipeline(
        [
            Node(
                select_fitting_samples,
                ["images", "samples"],
                "fitting_samples",
                name="select_fitting_samples",
            ),
            Node(
                fit_transfer,
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
