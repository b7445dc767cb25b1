"""The graph of `risk`: only `fitting_samples` reaches a fit, only `calibration_logits` a temperature."""

from kedro.pipeline import Node, Pipeline

from glasshead.images.fitting import select_fitting_samples
from glasshead.pipelines.risk.audit_nodes import find_faults
from glasshead.pipelines.risk.evaluation_nodes import (
    compute_metrics,
    list_for_review,
    locate_risk,
)
from glasshead.pipelines.risk.figure_nodes import (
    plot_curves,
    plot_galleries,
    plot_localisation,
    plot_reliability,
    plot_training_history,
)
from glasshead.pipelines.risk.nodes import (
    apply_temperatures,
    calibrate_auditor,
    fit_auditor,
    fit_reference,
    fit_temperatures,
    predict_risk,
    select_calibration,
    store_features,
)

FEATURES = ["embedding_store", "embed_summary"]


def create_pipeline() -> Pipeline:
    """images, samples, planted, embedding_store → scores, maps, metrics, findings, to_review and figures."""
    return features_pipeline() + training_pipeline() + evaluation_pipeline() + figures_pipeline()


def features_pipeline() -> Pipeline:
    """Return what training needs: the rows that it may see, and the frozen features."""
    return Pipeline(
        [
            Node(
                select_fitting_samples,
                ["images", "samples"],
                "fitting_samples",
                name="select_fitting_samples",
            ),
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


def training_pipeline() -> Pipeline:
    """Return the fits, the calibration, and the scores and maps of all images."""
    fitted_on = [
        "images",
        "fitting_samples",
        *FEATURES,
        "params:backbone",
        "params:risk",
        "params:seed",
    ]
    return Pipeline(
        [
            Node(fit_auditor, fitted_on, ["uncalibrated", "audit_log"], name="fit_auditor"),
            Node(fit_reference, fitted_on, "reference", name="fit_reference"),
            Node(
                predict_risk,
                ["uncalibrated", "images", "samples", *FEATURES, "params:risk"],
                ["logits", "maps"],
                name="predict_risk",
            ),
            Node(select_calibration, "logits", "calibration_logits", name="select_calibration"),
            Node(fit_temperatures, "calibration_logits", "temperatures", name="fit_temperatures"),
            Node(
                apply_temperatures, ["logits", "temperatures"], "scores", name="apply_temperatures"
            ),
            Node(
                calibrate_auditor,
                ["uncalibrated", "temperatures"],
                "classifier",
                name="calibrate_auditor",
            ),
        ]
    )


def evaluation_pipeline() -> Pipeline:
    """Return what is measured and found on test images, and the list of images to look at."""
    return Pipeline(
        [
            Node(
                locate_risk,
                ["classifier", "reference", "images", "scores", "params:risk", "params:seed"],
                "localisation",
                name="locate_risk",
            ),
            Node(
                compute_metrics,
                ["scores", "localisation", "temperatures", "params:risk", "params:seed"],
                "metrics",
                name="compute_metrics",
            ),
            Node(
                find_faults,
                [
                    "classifier",
                    "reference",
                    "images",
                    "samples",
                    "scores",
                    "localisation",
                    "planted",
                    "params:risk",
                    "params:seed",
                ],
                "findings",
                name="find_faults",
            ),
            Node(list_for_review, ["scores", "params:risk"], "to_review", name="list_for_review"),
        ]
    )


def figures_pipeline() -> Pipeline:
    """Return the figures."""
    return Pipeline(
        [
            Node(
                plot_training_history,
                "audit_log",
                "training_history_figure",
                name="plot_training_history",
            ),
            Node(plot_curves, "scores", "curves_figure", name="plot_curves"),
            Node(
                plot_reliability,
                ["scores", "params:risk"],
                "reliability_figure",
                name="plot_reliability",
            ),
            Node(plot_localisation, "metrics", "localisation_figure", name="plot_localisation"),
            Node(
                plot_galleries,
                ["classifier", "images", "scores", "maps", "to_review", "params:risk"],
                ["highest_figure", "lowest_figure", "uncertain_figure", "to_review_figure"],
                name="plot_galleries",
            ),
        ]
    )
