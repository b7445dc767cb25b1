"""The graph of `report`, a template, and the comparison of classifiers."""

from collections.abc import Iterable

from kedro.pipeline import Pipeline

from glasshead.deferred import deferred
from glasshead.templates import steps

with deferred(__name__):
    from glasshead.pipelines.report.comparison_nodes import compare_classifiers
    from glasshead.pipelines.report.nodes import judge_classifier, write_model_card, write_report

SHOWN = (  # datasets that the report shows if the corridor makes them
    "class_recall",
    "confused_pairs",
    "example_images",
    "examples",
    "explanation_plan",
    "explanations",
    "reliability",
    "to_review",
)


def create_pipeline(made: Iterable[str]) -> Pipeline:
    """The datasets `made` by the corridor → summary, report, model_card. The report shows every figure among them.

    The input `results` holds what other pipelines may have stored, `own_results` the part of this classifier.
    """
    shown = sorted(name for name in made if name in SHOWN or name.endswith("_figure"))
    explained = [name for name in shown if name == "explanations"]
    judged = "classifier", "images", "samples", "ingest_counts", "predictions"
    common = "own_results", "results", "run_record", "findings", "summary", "metrics"
    data = "images", "predictions", "class_balance_figure", "mean_images_figure"
    return steps(
        (judge_classifier, _named(*judged, "metrics", "findings", *explained), "summary"),
        (write_report, _named(*common, *data, *shown), "report"),
        (write_model_card, _named(*common), "model_card"),
    )


def comparison_pipeline() -> Pipeline:
    """results → comparison_report."""
    return steps((compare_classifiers, "results params:report", "comparison_report"))


def _named(*datasets: str) -> dict[str, str]:
    """Return node inputs: the parameters, and each dataset as the argument of the same name.

    The parameters come first, because Kedro finds the type of a parameter by its position.
    """
    return {"parameters": "params:report"} | {name: name for name in datasets}
