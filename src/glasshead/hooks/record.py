"""The record of runs: for each node its inputs and outputs, time, duration, command and device, when it last ran."""

import os
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import AbstractDataset, DataCatalog, DatasetError
from kedro.pipeline.node import Node
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT

from glasshead.hooks.headlines import leaves
from glasshead.hooks.tags import git_tags

RECORD = "run_record"
OPTIONS = {  # options of kedro run, by their names in Kedro's hooks
    "pipelines": "pipeline_names",
    "namespaces": "namespaces",
    "tags": "tags",
    "nodes": "node_names",
    "from-nodes": "from_nodes",
    "to-nodes": "to_nodes",
}


class RecordHooks:
    """Keep the dataset `run_record`, one entry for each node, if the catalog has it; reports read it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started: dict[str, float] = {}
        self._common: dict[str, Any] = {}

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], catalog: DataCatalog) -> None:
        """Note what all nodes of the run share, and create the record if it does not exist."""
        git = git_tags(Path(run_params["project_path"]))
        self._common = {
            "command": command(run_params),
            "commit": git.get(MLFLOW_GIT_COMMIT),
            "changed": git.get("git.changed") == "true",
        }
        self._update(catalog, {})

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Start the node's clock."""
        self._started[node.name] = time.perf_counter()

    @hook_impl
    def after_node_run(self, node: Node, catalog: DataCatalog) -> None:
        """Write the node's entry, with the time that the node took."""
        seconds = round(time.perf_counter() - self._started.pop(node.name), 3)
        entry = {
            "inputs": [name for name in node.inputs if not name.startswith("params:")],
            "outputs": node.outputs,
            "seconds": seconds,
            "device": device(),
        }
        self._update(catalog, {node.name: entry | self._common})

    def _update(self, catalog: DataCatalog, entries: dict[str, Any]) -> None:
        record = catalog.get(RECORD)
        if record is not None:
            with self._lock:
                record.save(_kept(record) | entries)


def command(run_params: dict[str, Any]) -> str:
    """Return the command line of a run, as far as Kedro passes it to hooks."""
    return shlex.join(["kedro", "run", *_options(run_params)])


def device() -> str:
    """Return "cuda" if this process has computed on a GPU, else "cpu" with the number of cores."""
    torch = sys.modules.get("torch")
    on_gpu = torch is not None and torch.cuda.is_initialized()
    return "cuda" if on_gpu else f"cpu, {os.cpu_count()} cores"


def _options(run_params: dict[str, Any]) -> Iterator[str]:
    if run_params.get("env"):
        yield f"--env={run_params['env']}"
    for option, name in OPTIONS.items():
        if run_params.get(name):
            yield f"--{option}={','.join(run_params[name])}"
    parameters = dict(leaves(run_params.get("runtime_params") or {}))
    if parameters:
        yield "--params=" + ",".join(f"{name}={value}" for name, value in parameters.items())


def _kept(record: AbstractDataset[Any, Any]) -> dict[str, Any]:
    """Return the stored record, or an empty one if it is missing or damaged."""
    try:
        kept: dict[str, Any] = record.load()
    except DatasetError:
        return {}
    return kept
