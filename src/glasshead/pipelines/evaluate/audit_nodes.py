"""The node of `evaluate` that looks for what the mistakes on test rows have in common."""

import logging

import pandas as pd

from glasshead.audit.findings import Finding, worst_first
from glasshead.audit.miscalibration import miscalibration
from glasshead.audit.mistakes import confident_mistakes
from glasshead.audit.weak_groups import weak_classes, weak_values
from glasshead.calibration.heads import class_columns
from glasshead.errors import ArtifactError
from glasshead.images.table import ATTRIBUTE
from glasshead.pipelines.evaluate.nodes import Metrics

logger = logging.getLogger(__name__)


def find_faults(
    test: pd.DataFrame, samples: pd.DataFrame, metrics: Metrics, reliability: pd.DataFrame
) -> list[Finding]:
    """Return the findings on the classifier, the severest first; none where the checks find nothing.

    confident_mistakes, class_accuracy, miscalibration, and attribute_accuracy, which needs attributes of the image
    table. The two of accuracy say so where they have nothing to compare.

    Raises ArtifactError where `samples` lack test rows.
    """
    columns = {ATTRIBUTE + name: name for name in class_columns(samples, ATTRIBUTE)}
    rows = samples.set_index("image_id")[[*columns]].rename(columns=columns)
    if not test["image_id"].isin(rows.index).all():
        raise ArtifactError(
            "The predictions are not those of the samples. Run the calibrate pipeline again."
        )
    ece, consistency = metrics["ece"], metrics["ece_consistency_95"]["value"]
    found = worst_first(
        [
            confident_mistakes(test),
            miscalibration(test, reliability, ece, consistency),
            *weak_classes(test),
            *weak_values(test, rows.loc[test["image_id"]]),
        ]
    )
    for each in found:
        logger.warning("%s (%s): %s", each["check"], each["severity"], each["summary"])
    if not found:
        logger.info("No finding: the checks of the classifier have run and found nothing")
    return found
