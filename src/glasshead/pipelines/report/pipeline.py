"""The graph of `report`, a template, and the comparison of classifiers."""

from collections.abc import Iterable

from kedro.pipeline import Node, Pipeline

from glasshead.pipelines.report.comparison_nodes import compare_classifiers
from glasshead.pipelines.report.nodes import judge_classifier, write_model_card, write_report


def create_pipeline(figures: Iterable[str]) -> Pipeline:
    """What the corridor found → summary, report, model_card; the report shows the datasets `figures`.

    `results` are what other pipelines may have left, `own_results` those of this classifier's among them.
    """
    judged = {
        name: name
        for name in ("metrics", "class_recall", "confused_pairs", "reliability", "explanations")
    }
    shared = {name: name for name in ("own_results", "results", "run_record", "summary", "metrics")}
    return Pipeline(
        [
            Node(
                judge_classifier,
                {
                    **{name: name for name in ("own_results", "classifier", "samples")},
                    **{name: name for name in ("ingest_counts", "predictions", "examples")},
                    **judged,
                    "parameters": "params:report",
                },
                "summary",
                name="judge_classifier",
            ),
            Node(
                write_report,
                {
                    **shared,
                    **judged,
                    "examples": "examples",
                    "example_images": "example_images",
                    "class_balance": "class_balance_figure",
                    "mean_images": "mean_images_figure",
                    "parameters": "params:report",
                    **{figure.removesuffix("_figure"): figure for figure in figures},
                },
                "report",
                name="write_report",
            ),
            Node(
                write_model_card,
                {**shared, "parameters": "params:report"},
                "model_card",
                name="write_model_card",
            ),
        ]
    )


def comparison_pipeline() -> Pipeline:
    """results → comparison_report."""
    return Pipeline(
        [
            Node(
                compare_classifiers,
                ["results", "params:report"],
                "comparison_report",
                name="compare_classifiers",
            )
        ]
    )
