"""The graphs of `risk` and `risk_ablation`. Fits read only `fitting_samples`; other nodes test the maps."""

from kedro.pipeline import Pipeline

from glasshead.deferred import deferred
from glasshead.templates import SELECTION, step, steps

with deferred(__name__):
    from glasshead.pipelines.risk.ablation_nodes import (
        compare_variants,
        fit_variants,
        measure_variants,
        plot_ablation,
    )
    from glasshead.pipelines.risk.audit_nodes import find_shortcuts
    from glasshead.pipelines.risk.evaluation_nodes import (
        list_for_review,
        locate_risk,
        plot_galleries,
    )
    from glasshead.pipelines.risk.nodes import (
        fit_auditor,
        fit_reference,
        predict_risk,
        store_features,
    )
    from glasshead.reporting.risk_figures import plot_training_history

FEATURES = "embedding_store embed_summary"


def create_pipeline() -> Pipeline:
    """images, samples, embedding_store → uncalibrated, reference, logits, maps, training_history and its figure."""
    fitted_on = f"images fitting_samples {FEATURES} params:backbone params:risk params:seed"
    return features_pipeline() + steps(
        (fit_auditor, fitted_on, "uncalibrated training_history"),
        (fit_reference, f"uncalibrated {fitted_on}", "reference"),
        (predict_risk, f"uncalibrated images samples {FEATURES} params:risk", "logits maps"),
        (plot_training_history, "training_history", "training_history_figure"),
    )


def features_pipeline() -> Pipeline:
    """Return the nodes before training, which select the rows that it may read and store the frozen features."""
    store = step(
        store_features,
        "images fitting_samples embedding_store params:backbone params:risk",
        "embed_summary",
    )
    return Pipeline([SELECTION, store])


def proof_pipeline() -> Pipeline:
    """Return the nodes that test the maps on test images, and list images to review.

    classifier, reference, logits, predictions, maps, images, samples, planted → localisation, shortcut_findings,
    to_review and figures.
    """
    return steps(
        (
            locate_risk,
            "classifier reference images predictions params:risk params:seed",
            "localisation",
        ),
        (
            find_shortcuts,
            "classifier reference images samples logits localisation planted params:risk params:seed",
            "shortcut_findings",
        ),
        (list_for_review, "predictions params:risk", "to_review"),
        (
            plot_galleries,
            "classifier images predictions maps to_review params:risk",
            "highest_figure lowest_figure uncertain_figure to_review_figure",
        ),
    )


def ablation_pipeline() -> Pipeline:
    """images, samples, embedding_store → variants, histories, runs, ablation and its figure."""
    read = f"images variants {FEATURES} params:backbone params:risk"
    return features_pipeline() + steps(
        (fit_variants, f"{read} fitting_samples params:seed", "histories"),
        (measure_variants, f"{read} samples histories", "runs"),
        (compare_variants, "runs params:risk", "ablation"),
        (plot_ablation, "ablation", "ablation_figure"),
    )
