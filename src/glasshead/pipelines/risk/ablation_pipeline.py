"""The graph of `risk_ablation`."""

from kedro.pipeline import Pipeline

from glasshead.pipelines.risk.ablation_nodes import (
    compare_variants,
    fit_variants,
    measure_variants,
    plot_ablation,
)
from glasshead.pipelines.risk.pipeline import FEATURES, features_pipeline
from glasshead.templates import steps

SHARED = [*FEATURES, "params:backbone", "params:risk"]


def ablation_pipeline() -> Pipeline:
    """images, samples, embedding_store → variants, histories, runs, ablation and its figure."""
    return features_pipeline() + steps(
        (
            fit_variants,
            ["images", "fitting_samples", "variants", *SHARED, "params:seed"],
            "histories",
        ),
        (measure_variants, ["images", "samples", "variants", "histories", *SHARED], "runs"),
        (compare_variants, "runs params:risk", "ablation"),
        (plot_ablation, "ablation", "ablation_figure"),
    )
