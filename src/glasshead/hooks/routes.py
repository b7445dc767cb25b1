"""What of a saved dataset goes to MLflow, and how: chosen by how the dataset's name ends."""

import math
import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Metric
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from glasshead import __version__

DIGEST_LENGTH = 36  # what MLflow's SQL stores hold
BATCH = 1000  # MLflow's limit of metrics in one request

Route = Callable[[str, Any, Path | None], None]


def route(dataset: str) -> Route | None:
    """Return the function `(run_id, data, path)` that logs what is saved as `dataset`, or None."""
    name = "_" + dataset.rsplit(".", 1)[-1]
    return next((log for suffix, log in ROUTES.items() if name.endswith(f"_{suffix}")), None)


def log_numbers(run_id: str, data: Mapping[str, Any], path: Path | None) -> None:
    """Log every number of a nested mapping; an estimate logs its value, low and high."""
    log_metrics(run_id, ((name, value, 0) for name, value in numbers(data)))


def log_curves(run_id: str, data: pd.DataFrame, path: Path | None) -> None:
    """Log the numeric columns of a table with a column `epoch` as one curve each."""
    _log_columns(run_id, data, "training_history", "epoch")


def log_parent_curves(run_id: str, data: pd.DataFrame, path: Path | None) -> None:
    """Log the curves of a network that another one is made of, under a name of their own."""
    _log_columns(run_id, data, "parent_training_history", "epoch")


def log_steps(run_id: str, data: pd.DataFrame, path: Path | None) -> None:
    """Log the numeric columns of a table with a column `step` as one curve each."""
    _log_columns(run_id, data, "step_log", "step")


def log_table(run_id: str, data: object, path: Path | None) -> None:
    """Log the file of a table as an artifact under tables/."""
    if path is not None:
        mlflow.log_artifact(str(path), "tables", run_id=run_id)


def log_file(run_id: str, data: object, path: Path | None) -> None:
    """Log the file of a figure as an artifact under figures/."""
    if path is not None:
        mlflow.log_artifact(str(path), "figures", run_id=run_id)


def log_document(run_id: str, data: object, path: Path | None) -> None:
    """Log the file of a report or card as an artifact under documents/."""
    if path is not None:
        mlflow.log_artifact(str(path), "documents", run_id=run_id)


def log_classifier(run_id: str, data: Any, path: Path | None) -> None:
    """Log the Classifier's folder, and the same as an MLflow model with signature and input example.

    The model is a script that loads the folder ("models from code"), so that nothing is pickled; it
    needs this package where it is served. The run must be the active one.
    """
    if path is None:
        return
    mlflow.log_artifacts(str(path), "classifier", run_id=run_id)
    size = data.input_size
    with warnings.catch_warnings(record=True):  # that `predict` has no type hints
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
    """Log an image table's digest as the input of the run, which must be the active one."""
    digest = images.digest()
    source = resolve_dataset_source(str(path))
    data = MetaDataset(source, "images", digest[:DIGEST_LENGTH])  # type: ignore[abstract]
    mlflow.log_input(data)
    mlflow.MlflowClient().set_tag(run_id, "data_digest", digest)


def numbers(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield `(path, number)` for the finite numbers of a nested mapping, paths joined by "/".

    A mapping with `value` is an estimate: it yields its value at its own path, `low` and `high` below it.
    """
    for key, node in tree.items():
        name = f"{prefix}{key}"
        if isinstance(node, Mapping):
            if "value" in node:
                bounds = {f"{name}/{bound}": node.get(bound) for bound in ("low", "high")}
                yield from numbers({name: node["value"], **bounds})
            else:
                yield from numbers(node, f"{name}/")
        elif isinstance(node, int | float) and not isinstance(node, bool) and math.isfinite(node):
            yield name, float(node)


def log_metrics(run_id: str, metrics: Iterable[tuple[str, float, int]]) -> None:
    """Log `(name, value, step)` in as few requests as MLflow takes; values that are not finite are left out."""
    now = int(time.time() * 1000)
    entries = [
        Metric(re.sub(r"[^\w\-./ :]", "_", name), float(value), now, step)
        for name, value, step in metrics
        if math.isfinite(value)
    ]
    client = mlflow.MlflowClient()
    for start in range(0, len(entries), BATCH):
        client.log_batch(run_id, metrics=entries[start : start + BATCH])


def _log_columns(run_id: str, data: pd.DataFrame, name: str, place: str) -> None:
    log_metrics(
        run_id,
        (
            (f"{name}/{column}", value, int(step))
            for column in data.select_dtypes("number").columns.drop(place)
            for step, value in zip(data[place], data[column], strict=True)
        ),
    )


ROUTES: dict[str, Route] = {  # the first that fits
    "parent_training_history": log_parent_curves,
    "ablation": log_table,
    "training_history": log_curves,
    "classifier": log_classifier,
    "comparison": log_table,
    "embed_summary": log_numbers,
    "explanations": log_numbers,
    "figure": log_file,
    "findings": log_table,
    "flips": log_table,
    "interpolation": log_table,
    "interventions": log_numbers,
    "latency": log_table,
    "metrics": log_numbers,
    "model_card": log_document,
    "report": log_document,
    "robustness": log_table,
    "step_log": log_steps,
    "to_review": log_table,
}
