"""Did a classifier from outside learn the rows that it is calibrated and tested on?"""

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu

from glasshead.audit.findings import Finding
from glasshead.images.params import PreprocessParams

CHECK = "training_images"
LEAST_P = 1e-3  # of a difference between calibration and test rows that is called a finding
ADVICE = (
    "Say which images the classifier was trained on: preprocess.trained_on=none, or a folder or a list of them. A "
    "temperature fitted on images that a classifier has learned makes it too confident."
)


def find_learned_rows(predictions: pd.DataFrame, parameters: PreprocessParams) -> list[Finding]:
    """Return what is known of the images that the classifier was trained on, unless its user says it.

    Of rows that it never saw, calibration and test rows are alike: the probabilities of their labels come from one
    distribution. Mann and Whitney's test (1947, doi:10.1214/aoms/1177730491) says whether they do. A difference means
    that one of the two was learned, or that they are unlike images; the temperature holds for neither case.
    """
    if parameters.trained_on is not None:
        return []
    parts = {name: predictions[predictions["split"] == name] for name in ("calibration", "test")}
    own = {name: _probabilities_of_labels(part) for name, part in parts.items()}
    right = {
        name: float((part["predicted"] == part["label"]).mean()) for name, part in parts.items()
    }
    confidence = {name: float(part["confidence"].mean()) for name, part in parts.items()}
    evidence = {
        **{f"accuracy_{name}": value for name, value in right.items()},
        **{f"confidence_{name}": value for name, value in confidence.items()},
        "n_calibration": len(own["calibration"]),
        "n_test": len(own["test"]),
        "p": float(mannwhitneyu(own["calibration"], own["test"]).pvalue),
    }
    numbers = (
        f"accuracy {right['calibration']:.3f} and mean confidence {confidence['calibration']:.3f} on calibration rows, "
        f"{right['test']:.3f} and {confidence['test']:.3f} on test rows"
    )
    if evidence["p"] >= LEAST_P:
        return [
            Finding(
                check=CHECK,
                severity="medium",
                summary=f"Nobody says which images the classifier was trained on. Calibration and test rows show no "
                f"difference: {numbers}.",
                evidence=evidence,
                rows=[],
                advice=ADVICE,
            )
        ]
    better = max(own, key=lambda name: float(np.mean(own[name])))
    return [
        Finding(
            check=CHECK,
            severity="high",
            summary=f"The classifier is better on {better} rows than chance allows: {numbers}. It may have learned "
            "them, and then its temperature and its metrics are too good.",
            evidence=evidence,
            rows=[],
            advice=ADVICE,
        )
    ]


def _probabilities_of_labels(rows: pd.DataFrame) -> np.ndarray:
    """Return the calibrated probability of the label of each row."""
    names = [f"probability/{name}" for name in rows["label"]]
    columns = pd.Index(rows.columns).get_indexer(pd.Index(names))
    return rows.to_numpy(object)[np.arange(len(rows)), columns].astype(float)
