"""The node of the report that compares classifiers."""

import logging

from glasshead.datasets.results import Results
from glasshead.errors import ArtifactError
from glasshead.pipelines.report.nodes import ReportParams
from glasshead.reporting.comparison_report import Compared, comparison_page
from glasshead.reporting.findings import sorted_findings

logger = logging.getLogger(__name__)

SAME = ("data", "fitting_rows")  # of the provenance, equal for all compared classifiers


def compare_classifiers(results: Results, parameters: ReportParams) -> str:
    """Return the page that compares the classifiers of `report.compare`; it lists those that have no report.

    Raises ArtifactError if none has a report, if a classifier's metrics and report come from different trainings, or if
    two classifiers differ in output, images or splits.
    """
    compared = {name: own for name in parameters.compare if (own := _compared(name, results))}
    missing = [name for name in parameters.compare if name not in compared]
    if missing:
        logger.warning("Classifiers without a report are not compared: %s", ", ".join(missing))
    if not compared:
        raise ArtifactError(
            f"There is no report on any of {', '.join(parameters.compare)}. First run at least one of them, such as "
            f"`kedro run --pipelines={parameters.compare[0]}`."
        )
    first, *further = compared
    for name in further:
        if _output(compared[name]) != _output(compared[first]):
            raise ArtifactError(
                f"The classifiers {name} and {first} cannot be compared: one predicts one class for each image, the "
                "other any number of labels. Remove one of them from report.compare."
            )
        if _trained_on(compared[name]) != _trained_on(compared[first]):
            raise ArtifactError(
                f"The classifier {name} was trained on other images or splits than {first}. Run "
                f"`kedro run --pipelines={first}` and `kedro run --pipelines={name}` again on the same images, or "
                "remove one of them from report.compare."
            )
    return comparison_page(compared, missing, parameters.most)


def _compared(name: str, results: Results) -> Compared | None:
    summary, metrics, findings = (
        results.load(f"{name}/{result}.json") for result in ("summary", "metrics", "findings")
    )
    if summary is None or metrics is None:
        return None
    if results.training(f"{name}/metrics.json") != summary["training"]:
        raise ArtifactError(
            f"The report on {name} belongs to another training than its metrics. Run "
            f"`kedro run --pipelines={name}` again."
        )
    return Compared(
        summary, metrics, sorted_findings({name: findings}), results.figures(f"{name}/figures")
    )


def _trained_on(classifier: Compared) -> list[str | None]:
    provenance = classifier.summary["classifier"]["provenance"]
    return [provenance.get(name) for name in SAME]


def _output(classifier: Compared) -> str:
    output: str = classifier.summary["classifier"]["output"]
    return output
