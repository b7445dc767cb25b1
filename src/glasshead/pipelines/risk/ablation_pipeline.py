"""The graph of `risk_ablation`."""

from kedro.pipeline import Node, Pipeline

from glasshead.pipelines.risk.ablation_nodes import fit_variants, measure_variants, plot_ablation
from glasshead.pipelines.risk.pipeline import FEATURES, features_pipeline

SHARED = [*FEATURES, "params:backbone", "params:risk"]


def ablation_pipeline() -> Pipeline:
    """images, samples, embedding_store → heads, ablation and its figure."""
    nodes = [
        Node(
            fit_variants,
            ["images", "fitting_samples", *SHARED, "params:seed"],
            "heads",
            name="fit_variants",
        ),
        Node(
            measure_variants,
            ["images", "samples", "heads", *SHARED],
            "ablation",
            name="measure_variants",
        ),
        Node(plot_ablation, "ablation", "ablation_figure", name="plot_ablation"),
    ]
    return features_pipeline() + Pipeline(nodes)
