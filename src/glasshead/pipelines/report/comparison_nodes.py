"""The node of the report that compares classifiers."""

import logging

from glasshead.errors import ArtifactError
from glasshead.pipelines.report.nodes import ResultsFolder
from glasshead.pipelines.report.params import ReportParams
from glasshead.reporting.comparison_report import Compared, comparison_page

logger = logging.getLogger(__name__)

SAME = ("data", "fitting_rows")  # of their provenance, for classifiers to be comparable


def compare_classifiers(results: ResultsFolder, parameters: ReportParams) -> str:
    """Return the page on the classifiers of `report.compare`; those that no run has reported on are named there.

    Raises ArtifactError where there is none, one was evaluated after its report, or two are of other images or splits.
    """
    found = {name: each for name in parameters.compare if (each := _compared(name, results))}
    missing = [name for name in parameters.compare if name not in found]
    if missing:
        logger.warning("Not compared, as no report on them is there: %s", ", ".join(missing))
    if not found:
        raise ArtifactError(
            f"There is no report on any of {', '.join(parameters.compare)}. Run the pipelines of these names first."
        )
    first, *others = found
    for name in others:
        if _trained_on(found[name]) != _trained_on(found[first]):
            raise ArtifactError(
                f"The classifier {name} was trained on other images or splits than {first}. Run the pipelines of both "
                "names again, or leave one out of report.compare."
            )
    return comparison_page(found, missing, parameters.most)


def _compared(name: str, results: ResultsFolder) -> Compared | None:
    summary, metrics = (results.load(f"{name}/{part}.json") for part in ("summary", "metrics"))
    if summary is None or metrics is None:
        return None
    judged = summary["verdicts"][0]["numbers"]["accuracy"]
    if judged != metrics["accuracy"]:
        raise ArtifactError(
            f"The report on {name} is older than its metrics. Run its report again, or the pipeline {name}."
        )
    return Compared(summary, metrics, results.figures(f"{name}/figures"))


def _trained_on(classifier: Compared) -> list[str | None]:
    provenance = classifier.summary["classifier"]["provenance"]
    return [provenance.get(name) for name in SAME]
