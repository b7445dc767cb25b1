"""The graph of `transfer_comparison`: what is compared comes from one namespace for each of `VARIANTS`."""

from kedro.pipeline import Node, Pipeline

from glasshead.pipelines.transfer_comparison.nodes import (
    compare_recipes,
    draw_comparison,
    draw_interpolation,
    study_interpolation,
)
from glasshead.pipelines.transfer_comparison.variants import REFERENCE, VARIANTS


def create_pipeline() -> Pipeline:
    """metrics, audit_log of each variant, uncalibrated of one, images, samples → two tables and their figures."""
    metrics, logs = (
        {f"{name.split('.')[1]}_{result}": f"{name}.{result}" for name in VARIANTS}
        for result in ("metrics", "audit_log")
    )
    template = Pipeline(
        [
            Node(compare_recipes, [*metrics, *logs], "comparison", name="compare_recipes"),
            Node(draw_comparison, list(logs), "comparison_figure", name="draw_comparison"),
            Node(
                study_interpolation,
                ["comparison", "reference", "images", "samples"],
                "interpolation",
                name="study_interpolation",
            ),
            Node(
                draw_interpolation,
                "interpolation",
                "interpolation_figure",
                name="draw_interpolation",
            ),
        ]
    )
    shared = {"images": "images", "samples": "samples"}
    reference = {"reference": f"transfer_comparison.{REFERENCE}_0.uncalibrated"}
    return Pipeline(
        template, namespace="transfer_comparison", inputs=metrics | logs | shared | reference
    )
