"""The nodes of `evaluate` that look for faults: in the mistakes on test rows, and in what comes from outside."""

import logging
from typing import Any

import numpy as np
import pandas as pd

from glasshead.audit.findings import Finding, worst_first
from glasshead.audit.membership import find_learned_rows
from glasshead.audit.miscalibration import miscalibration
from glasshead.audit.mistakes import concept_leakage, confident_mistakes, confused_classes
from glasshead.audit.preflight import contract_findings
from glasshead.audit.weak_groups import weak_classes, weak_values
from glasshead.calibration.table import LABEL, class_columns
from glasshead.errors import ArtifactError
from glasshead.images.params import PreprocessParams
from glasshead.images.table import ATTRIBUTE
from glasshead.pipelines.evaluate.nodes import Metrics

logger = logging.getLogger(__name__)


def find_faults(
    test: pd.DataFrame,
    samples: pd.DataFrame,
    metrics: Metrics,
    confused_pairs: pd.DataFrame | None = None,
    reliability: pd.DataFrame | None = None,
    further: list[Finding] | None = None,
) -> list[Finding]:
    """Return the findings on the classifier and `further` ones, the most severe first.

    A softmax output is checked by confident_mistakes, confused_classes, class_accuracy, miscalibration, concept_leakage
    and attribute_accuracy; the last needs attributes in the image table. If class_accuracy or attribute_accuracy has
    nothing to compare, a finding says so. A sigmoid output is checked by confident_mistakes, for each class.

    Raises ArtifactError if `samples` lack test rows.
    """
    if not test["image_id"].isin(samples["image_id"]).all():
        raise ArtifactError(
            "The predictions belong to other samples. Run the calibrate pipeline again."
        )
    findings: list[Finding | None] = [*(further or [])]
    for name in class_columns(test, LABEL):
        findings.append(confident_mistakes(_yes_or_no(test, name), f"The score of {name!r}"))
    if confused_pairs is not None and reliability is not None:
        columns = {ATTRIBUTE + name: name for name in class_columns(samples, ATTRIBUTE)}
        rows = samples.set_index("image_id")[[*columns]].rename(columns=columns)
        findings += [
            confident_mistakes(test),
            confused_classes(confused_pairs, len(class_columns(test, "probability/"))),
            miscalibration(
                test, reliability, metrics["ece"], metrics["ece_consistency_95"]["value"]
            ),
            concept_leakage(metrics),
            *weak_classes(test),
            *weak_values(test, rows.loc[test["image_id"]]),
        ]
    sorted_findings = worst_first(findings)
    for finding in sorted_findings:
        logger.warning("%s (%s): %s", finding["check"], finding["severity"], finding["summary"])
    if not sorted_findings:
        logger.info("The checks of the classifier found no faults")
    return sorted_findings


def find_outside_faults(
    predictions: pd.DataFrame, preflight: dict[str, Any], parameters: PreprocessParams
) -> list[Finding]:
    """Return faults of a classifier from outside: likely mistakes of its contract, and images it may have learned."""
    return [*contract_findings(preflight), *find_learned_rows(predictions, parameters)]


def _yes_or_no(test: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return for each test image if it has the label `name`, if the score predicts this label, and the confidence."""
    probability = test[f"probability/{name}"]
    return pd.DataFrame(
        {
            "image_id": test["image_id"],
            "label": test[LABEL + name] == 1,
            "predicted": probability >= 0.5,
            "confidence": np.maximum(probability, 1 - probability),
        }
    )
