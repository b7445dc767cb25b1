"""The graph of `cnn_ablation`: what is compared comes from one namespace for each of `VARIANTS`."""

from kedro.pipeline import Node, Pipeline

from glasshead.pipelines.cnn_ablation.nodes import VARIANTS, compare_augmentations, draw_ablation

__all__ = ["VARIANTS", "create_pipeline"]


def create_pipeline() -> Pipeline:
    """metrics and audit_log of each variant → cnn_ablation.ablation and its figure."""
    results = {
        f"{name}.{result}".removeprefix("cnn_ablation.").replace(".", "_"): f"{name}.{result}"
        for result in ("metrics", "audit_log")
        for name in VARIANTS
    }
    template = Pipeline(
        [
            Node(compare_augmentations, list(results), "ablation", name="compare_augmentations"),
            Node(draw_ablation, "ablation", "ablation_figure", name="draw_ablation"),
        ]
    )
    return Pipeline(template, namespace="cnn_ablation", inputs=results)
