"""The variants of a comparison: trained one after the other, then measured as any classifier is."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

import pandas as pd

from glasshead.calibration.params import CalibrateParams
from glasshead.calibration.tables import score_logits
from glasshead.images.table import ImageTable
from glasshead.models.classifier import Classifier
from glasshead.models.inference import logits_table
from glasshead.models.store import VariantStore
from glasshead.training.checkpoint import CheckpointFolder

logger = logging.getLogger(__name__)

EFFORT = ["epochs", "images_seen", "seconds"]


class Variant(Protocol):
    """A named tuple of what a variant is made of; its values give it its name."""

    def _asdict(self) -> dict[str, Any]: ...

    def __iter__(self) -> Any: ...


V = TypeVar("V", bound=Variant)
Training = Callable[[CheckpointFolder], tuple[Classifier, pd.DataFrame, pd.DataFrame]]


def name_of(variant: Variant) -> str:
    """Return the name of a variant: its values, joined by underscores."""
    return "_".join(map(str, variant))


def fit_each(store: VariantStore, trainings: Mapping[V, Training]) -> pd.DataFrame:
    """Fit each variant and keep it in `store`; return all training histories, each row with its variant's fields.

    A training is given its own checkpoints, so that one which was stopped goes on, and a finished one is not repeated.
    """
    histories = []
    for variant, fit in trainings.items():
        name = name_of(variant)
        logger.info("Variant %s", name)
        store.note(name)
        classifier, history, steps = fit(CheckpointFolder(store.path / name / "checkpoints"))
        store.save(name, classifier)
        store.note(name, audit_log=history, step_log=steps)
        fields = pd.DataFrame([variant._asdict()] * len(history), index=history.index)
        histories.append(pd.concat([fields, history], axis=1))
    return pd.concat(histories, ignore_index=True)


def measure_each(
    store: VariantStore,
    variants: Iterable[Variant],
    histories: pd.DataFrame,
    images: ImageTable,
    samples: pd.DataFrame,
    device: str,
    calibration: CalibrateParams,
    n_bins: int,
) -> pd.DataFrame:
    """Return a row a variant: its fields, accuracy, nll and ece on test rows after calibration, and what it took.

    What it took is the last row of its history: epochs, images_seen and seconds.

    Raises:
        ArtifactError: a variant is not in `store`, or `samples` were not made of `images`.
        SplitError: the calibration or the test split lacks rows.
    """
    rows = []
    for variant in variants:
        name = name_of(variant)
        logits = logits_table(store.load(name), images, samples, device)
        scores = score_logits(logits, calibration, n_bins)
        store.note(name, finished=True, metrics=scores)
        fields = variant._asdict()
        history = histories[(histories[list(fields)] == list(fields.values())).all(axis=1)]
        (effort,) = history.rename(columns={"epoch": "epochs"})[EFFORT].tail(1).to_dict("records")
        rows.append(fields | scores | effort)
    return pd.DataFrame(rows)
