"""The graph of `risk_ablation`."""

from kedro.pipeline import Pipeline

from glasshead.pipelines.risk.ablation_nodes import fit_variants, measure_variants, plot_ablation
from glasshead.pipelines.risk.pipeline import FEATURES, features_pipeline
from glasshead.templates import step

SHARED = [*FEATURES, "params:backbone", "params:risk"]


def ablation_pipeline() -> Pipeline:
    """images, samples, embedding_store → heads, ablation and its figure."""
    nodes = [
        step(fit_variants, ["images", "fitting_samples", *SHARED, "params:seed"], "heads"),
        step(measure_variants, ["images", "samples", "heads", *SHARED], "ablation"),
        step(plot_ablation, "ablation", "ablation_figure"),
    ]
    return features_pipeline() + Pipeline(nodes)
