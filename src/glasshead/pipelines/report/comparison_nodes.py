"""The node of the report that compares classifiers."""

import logging

from glasshead.errors import ArtifactError
from glasshead.pipelines.report.nodes import ResultsFolder
from glasshead.pipelines.report.params import ReportParams
from glasshead.reporting.comparison_report import Compared, comparison_page
from glasshead.reporting.findings import sorted_findings

logger = logging.getLogger(__name__)

SAME = ("data", "fitting_rows")  # of their provenance, for classifiers to be comparable


def compare_classifiers(results: ResultsFolder, parameters: ReportParams) -> str:
    """Return the page on the classifiers of `report.compare`; those that no run has reported on are named there.

    Raises ArtifactError where there is none, the metrics of one are of another training than its report, or two are of
    other images or splits.
    """
    compared = {name: own for name in parameters.compare if (own := _compared(name, results))}
    missing = [name for name in parameters.compare if name not in compared]
    if missing:
        logger.warning("Not compared, as no report on them is there: %s", ", ".join(missing))
    if not compared:
        raise ArtifactError(
            f"There is no report on any of {', '.join(parameters.compare)}. Run the pipelines of these names first."
        )
    first, *further = compared
    for name in further:
        if _output(compared[name]) != _output(compared[first]):
            raise ArtifactError(
                f"The classifier {name} does not answer as {first} does: one gives a class, the other labels. Leave "
                "one out of report.compare."
            )
        if _trained_on(compared[name]) != _trained_on(compared[first]):
            raise ArtifactError(
                f"The classifier {name} was trained on other images or splits than {first}. Run the pipelines of both "
                "names again, or leave one out of report.compare."
            )
    return comparison_page(compared, missing, parameters.most)


def _compared(name: str, results: ResultsFolder) -> Compared | None:
    summary, metrics, findings = (
        results.load(f"{name}/{result}.json") for result in ("summary", "metrics", "findings")
    )
    if summary is None or metrics is None:
        return None
    if results.training(f"{name}/metrics.json") != summary["training"]:
        raise ArtifactError(
            f"The report on {name} is of another training than its metrics. Run the pipeline {name} again."
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
