"""Log datasets to MLflow in the way that their catalog entries name under `metadata: {mlflow: …}`."""

import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from kedro.io import DataCatalog
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Metric
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from glasshead import __version__
from glasshead.errors import CatalogError
from glasshead.hooks.headlines import CURVES, headline_metrics

DIGEST_LENGTH = 36  # characters that MLflow's SQL stores can hold
BATCH = 1000  # MLflow's limit of metrics in one request
VARIANTS = "variants"  # a store that reports each variant of a comparison as it is made

Route = Callable[[str, Any, Path | None], None]


def check_kinds(entries: Mapping[str, Any]) -> None:
    """Raise CatalogError if a catalog entry names a way of logging that does not exist."""
    for name, entry in entries.items():
        metadata = entry.get("metadata") if isinstance(entry, Mapping) else None
        kind = (metadata or {}).get("mlflow")
        if kind is not None and kind not in KINDS:
            raise CatalogError(
                f"The catalog entry {name} has metadata.mlflow = {kind!r}. Set it to one of {', '.join(KINDS)}."
            )


def kind_of(catalog: DataCatalog, dataset: str) -> str | None:
    """Return how `dataset` is logged; None if its catalog entry does not say."""
    metadata = getattr(catalog.get(dataset), "metadata", None) or {}
    kind: str | None = metadata.get("mlflow")
    return kind


def path_of(catalog: DataCatalog, dataset: str) -> Path | None:
    """Return the file or folder of `dataset`; None if it has neither."""
    return getattr(catalog.get(dataset), "_filepath", None)


def log_results(run_id: str, data: Mapping[str, Any], path: Path | None) -> None:
    """Log the headline values of a nested mapping, and its file as an artifact under metrics/."""
    log_metrics(run_id, ((name, value, 0) for name, value in headline_metrics(data)))
    log_file("metrics", run_id, data, path)


def log_explanations(run_id: str, data: Mapping[str, Any], path: Path | None) -> None:
    """Log the name of the best explanation method as a tag, and all measures as an artifact under metrics/."""
    # imported here, as torch takes seconds to import
    from glasshead.explainers.methods import METHODS, real_methods
    from glasshead.explainers.randomisation import best_methods

    for best in best_methods(real_methods(name for name in data if name in METHODS), data, most=1):
        mlflow.MlflowClient().set_tag(run_id, "best_explanation", best)
    log_file("metrics", run_id, data, path)


def log_choice(tag: str, key: str, run_id: str, data: Mapping[str, Any], path: Path | None) -> None:
    """Log what `auto` has chosen for the images, the entry `key` of `data`, as the run's `tag`."""
    mlflow.MlflowClient().set_tag(run_id, tag, data[key])


def log_history(run_id: str, data: pd.DataFrame, path: Path | None) -> None:
    """Log a training history as curves, named after its file, and the file itself under tables/."""
    if path is not None:
        log_curves(run_id, data, path.stem)
    log_file("tables", run_id, data, path)


def log_curves(run_id: str, history: pd.DataFrame, name: str) -> None:
    """Log the headline columns of a training history as `<name>/<column>`, over epochs or steps."""
    axis = "step" if "step" in history else "epoch"
    log_metrics(
        run_id,
        (
            (f"{name}/{column}", value, int(step))
            for column in history.columns.intersection(list(CURVES[axis]))
            for step, value in zip(history[axis], history[column], strict=True)
        ),
    )


def log_file(folder: str, run_id: str, data: object, path: Path | None) -> None:
    """Log the dataset's file as an artifact in `folder`."""
    if path is not None:
        mlflow.log_artifact(str(path), folder, run_id=run_id)


def log_classifier(run_id: str, data: Any, path: Path | None) -> None:
    """Log the Classifier's folder as artifacts, and as an MLflow model with signature and input example.

    The MLflow model is a script that loads the folder ("models from code"), so nothing is pickled; serving it needs
    this package. `run_id` must be the active run.
    """
    if path is None:
        return
    mlflow.log_artifacts(str(path), "classifier", run_id=run_id)
    size = data.input_size
    with warnings.catch_warnings(record=True):  # a warning that `predict` has no type hints
        mlflow.pyfunc.log_model(
            name="classifier",
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={"classifier": str(path)},
            signature=ModelSignature(
                inputs=Schema([TensorSpec(np.dtype("float32"), (-1, 3, size, size), "images")]),
                outputs=Schema([TensorSpec(np.dtype("float32"), (-1, len(data.classes)))]),
            ),
            input_example={"images": np.full((1, 3, size, size), 0.5, dtype=np.float32)},
            pip_requirements=[f"glasshead=={__version__}"],
            metadata={"classes": list(data.classes)},
        )


def log_data(run_id: str, images: Any, path: Path | None) -> None:
    """Log an image table's digest as the input of the run; `run_id` must be the active run."""
    digest = images.digest()
    source = resolve_dataset_source(str(path))
    data = MetaDataset(source, "images", digest[:DIGEST_LENGTH])  # type: ignore[abstract]
    mlflow.log_input(data)
    mlflow.MlflowClient().set_tag(run_id, "data_digest", digest)


def log_metrics(run_id: str, metrics: Iterable[tuple[str, float, int]]) -> None:
    """Log `(name, value, step)` in as few requests as MLflow takes; values that are not finite are left out."""
    now = int(time.time() * 1000)
    entries = [
        Metric(name, float(value), now, step)
        for name, value, step in metrics
        if math.isfinite(value)
    ]
    client = mlflow.MlflowClient()
    for start in range(0, len(entries), BATCH):
        client.log_batch(run_id, metrics=entries[start : start + BATCH])


ROUTES: dict[str, Route] = {
    "metrics": log_results,
    "explanations": log_explanations,
    "backbone": partial(log_choice, "backbone", "backbone"),
    "taxonomy": partial(log_choice, "taxonomy", "name"),
    "curves": log_history,
    "table": partial(log_file, "tables"),
    "figure": partial(log_file, "figures"),
    "document": partial(log_file, "documents"),
    "classifier": log_classifier,
}
KINDS = (*ROUTES, VARIANTS)
