"""The graph of `report`, a template, that on a risk auditor, and the comparison of classifiers."""

from collections.abc import Iterable

from kedro.pipeline import Node, Pipeline

from glasshead.pipelines.report.comparison_nodes import compare_classifiers
from glasshead.pipelines.report.nodes import judge_classifier, write_model_card, write_report
from glasshead.pipelines.report.risk_nodes import (
    judge_auditor,
    write_risk_card,
    write_risk_report,
)


def create_pipeline(figures: Iterable[str], *, concepts: bool) -> Pipeline:
    """What the corridor found → summary, report, model_card; the report shows the datasets `figures`.

    With `concepts`, those of a bottleneck are judged too. `results` are what other pipelines may have left,
    `own_results` those of this classifier's among them.
    """
    judged = "own_results", "classifier", "images", "samples", "ingest_counts", "predictions"
    folders = "own_results", "results", "run_record", "findings"
    tables = "metrics", "class_recall", "confused_pairs", "reliability", "explanations", "examples"
    return Pipeline(
        [
            Node(
                judge_classifier,
                _named(*judged, *tables, *(["interventions"] if concepts else [])),
                "summary",
                name="judge_classifier",
            ),
            Node(
                write_report,
                _named(
                    *folders,
                    *("images", "predictions", "summary"),
                    *tables,
                    "example_images",
                    "class_balance_figure",
                    "mean_images_figure",
                    *figures,
                ),
                "report",
                name="write_report",
            ),
            Node(
                write_model_card,
                _named(*folders, "summary", "metrics"),
                "model_card",
                name="write_model_card",
            ),
        ]
    )


def risk_pipeline(figures: Iterable[str]) -> Pipeline:
    """What `risk` found → summary, report, model_card; the report shows the datasets `figures`."""
    return Pipeline(
        [
            Node(
                judge_auditor,
                {"auditor": "classifier"}
                | _named(
                    "ingest_counts", "embed_summary", "scores", "metrics", "findings", *figures
                ),
                "summary",
                name="judge_auditor",
            ),
            Node(
                write_risk_report,
                _named(
                    *("run_record", "summary", "metrics", "findings", "images", "scores"),
                    "to_review",
                    *figures,
                ),
                "report",
                name="write_risk_report",
            ),
            Node(
                write_risk_card,
                _named("run_record", "summary", "metrics", "findings"),
                "model_card",
                name="write_risk_card",
            ),
        ]
    )


def _named(*datasets: str) -> dict[str, str]:
    """Return datasets as arguments of the same names, and the parameters."""
    return {name: name for name in datasets} | {"parameters": "params:report"}


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
