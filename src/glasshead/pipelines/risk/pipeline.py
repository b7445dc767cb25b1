"""The graph of `risk`: its training, whose fits see `fitting_samples` alone, and what proves its maps."""

from kedro.pipeline import Node, Pipeline

from glasshead.pipelines.risk.audit_nodes import find_shortcuts
from glasshead.pipelines.risk.evaluation_nodes import list_for_review, locate_risk
from glasshead.pipelines.risk.figure_nodes import (
    plot_galleries,
    plot_training_history,
)
from glasshead.pipelines.risk.nodes import (
    fit_auditor,
    fit_reference,
    predict_risk,
    store_features,
)
from glasshead.templates import SELECTION

FEATURES = ["embedding_store", "embed_summary"]


def create_pipeline() -> Pipeline:
    """images, samples, embedding_store → uncalibrated, reference, logits, maps, training_history and its figure."""
    fitted_on = [
        "images",
        "fitting_samples",
        *FEATURES,
        "params:backbone",
        "params:risk",
        "params:seed",
    ]
    return features_pipeline() + Pipeline(
        [
            Node(fit_auditor, fitted_on, ["uncalibrated", "training_history"], name="fit_auditor"),
            Node(fit_reference, ["uncalibrated", *fitted_on], "reference", name="fit_reference"),
            Node(
                predict_risk,
                ["uncalibrated", "images", "samples", *FEATURES, "params:risk"],
                ["logits", "maps"],
                name="predict_risk",
            ),
            Node(
                plot_training_history,
                "training_history",
                "training_history_figure",
                name="plot_training_history",
            ),
        ]
    )


def features_pipeline() -> Pipeline:
    """Return what training needs: the rows that it may see, and the frozen features."""
    return Pipeline(
        [
            SELECTION,
            Node(
                store_features,
                [
                    "images",
                    "fitting_samples",
                    "embedding_store",
                    "params:backbone",
                    "params:risk",
                ],
                "embed_summary",
                name="store_features",
            ),
        ]
    )


def proof_pipeline() -> Pipeline:
    """Return what maps are held against on test images, and the list of images to look at.

    classifier, reference, logits, predictions, maps, images, samples, planted → localisation, shortcut_findings,
    to_review and figures.
    """
    return Pipeline(
        [
            Node(
                locate_risk,
                ["classifier", "reference", "images", "predictions", "params:risk", "params:seed"],
                "localisation",
                name="locate_risk",
            ),
            Node(
                find_shortcuts,
                [
                    "classifier",
                    "reference",
                    "images",
                    "samples",
                    "logits",
                    "localisation",
                    "planted",
                    "params:risk",
                    "params:seed",
                ],
                "shortcut_findings",
                name="find_shortcuts",
            ),
            Node(
                list_for_review, ["predictions", "params:risk"], "to_review", name="list_for_review"
            ),
            Node(
                plot_galleries,
                ["classifier", "images", "predictions", "maps", "to_review", "params:risk"],
                ["highest_figure", "lowest_figure", "uncertain_figure", "to_review_figure"],
                name="plot_galleries",
            ),
        ]
    )
