"""The variants of a comparison, trained and measured one after the other."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from glasshead.calibration.params import CalibrateParams, EvaluateParams
from glasshead.calibration.scaling import score_logits
from glasshead.device import Computes
from glasshead.images.table import ImageTable
from glasshead.models.classifier import Classifier
from glasshead.models.inference import predict_logits
from glasshead.models.store import VariantStore
from glasshead.training.checkpoint import CheckpointFolder

logger = logging.getLogger(__name__)

EFFORT = ["epochs", "images_seen", "seconds"]

# from its checkpoints to a Classifier, its training history and, if the training keeps one, the log of its steps
Training = Callable[[CheckpointFolder], tuple[Classifier, pd.DataFrame, *tuple[pd.DataFrame, ...]]]


def name_of(variant: Iterable[Any]) -> str:
    """Return the name of a variant: the values of its fields, joined by underscores."""
    return "_".join(map(str, variant)).replace(" ", "_")


def fit_each(variants: VariantStore, trainings: Mapping[Any, Training]) -> pd.DataFrame:
    """Fit each variant and keep it in `variants`; return all training histories, each row with its variant's fields.

    Variants are named tuples. Each training has its own checkpoints, so that a stopped training continues and a
    finished one is not repeated.
    """
    histories = []
    for variant, fit in trainings.items():
        name = name_of(variant)
        logger.info("Variant %s", name)
        variants.note(name)
        classifier, history, *step_logs = fit(
            CheckpointFolder(variants.path / name / "checkpoints")
        )
        variants.save(name, classifier)
        variants.note(name, audit_log=history)
        for step_log in step_logs:
            variants.note(name, step_log=step_log)
        fields = pd.DataFrame([variant._asdict()] * len(history), index=history.index)
        histories.append(pd.concat([fields, history], axis=1))
    return pd.concat(histories, ignore_index=True)


def measure_variants(
    images: ImageTable,
    samples: pd.DataFrame,
    variants: VariantStore,
    histories: pd.DataFrame,
    parameters: Computes,
    calibration: CalibrateParams,
    evaluation: EvaluateParams,
) -> pd.DataFrame:
    """Return a row for each variant of `histories`: its fields, its scores on test rows, and its training effort.

    Columns: the fields; accuracy, nll and ece after calibration; epochs, images_seen and seconds of training.

    Raises:
        ArtifactError: a variant is not in `variants`, or `samples` do not belong to `images`.
        SplitError: the calibration or the test split lacks rows.
    """
    fields = list(histories.columns[: histories.columns.get_loc("epoch")])
    rows = []
    for values, history in histories.groupby(fields, sort=False):
        name = name_of(values)
        logits = predict_logits(variants.load(name), images, samples, parameters)
        scores = score_logits(logits, calibration, evaluation.n_bins)
        variants.note(name, finished=True, metrics=scores)
        (effort,) = history.rename(columns={"epoch": "epochs"})[EFFORT].tail(1).to_dict("records")
        rows.append(dict(zip(fields, values, strict=True)) | scores | effort)
    return pd.DataFrame(rows)
