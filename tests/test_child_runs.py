"""Child runs of a comparison: what is recorded where, and that each status is true."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run

from glasshead.hooks.processes import PROCESS_TAG, process_tag
from glasshead.hooks.tags import ChildRuns


@pytest.fixture
def client(tmp_path: Path, empty_store: Path) -> Iterator[mlflow.MlflowClient]:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(None)


@pytest.fixture
def children(client: mlflow.MlflowClient) -> ChildRuns:
    parent = client.create_run("0").info.run_id
    return ChildRuns(parent, "0", {"source": "scenes"}, "2026-01-01 12:00:00")


def recorded(client: mlflow.MlflowClient) -> dict[str, Run]:
    runs = client.search_runs(["0"])
    return {run.data.tags["variant"]: run for run in runs if "mlflow.parentRunId" in run.data.tags}


def test_a_variant_has_one_run_nested_under_its_parent(
    client: mlflow.MlflowClient, children: ChildRuns
) -> None:
    child = children.run_id("study", "a")
    assert child == children.run_id("study", "a") != children.run_id("study", "b")
    assert recorded(client)["a"].info.run_name == "a, scenes, 2026-01-01 12:00:00"
    (parent,) = (
        run for run in client.search_runs(["0"]) if "mlflow.parentRunId" not in run.data.tags
    )
    tags = recorded(client)["a"].data.tags
    assert tags["mlflow.parentRunId"] == parent.info.run_id
    assert (tags["comparison"], tags["classifier"]) == ("study", "study.a")
    assert tags["source"] == "scenes"
    assert tags[PROCESS_TAG] == process_tag()


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("FINISHED", "success"), ("FAILED", "failure"), ("KILLED", "interrupted")],
)
def test_a_run_that_ends_early_spoils_only_the_variants_that_lack_results(
    client: mlflow.MlflowClient, children: ChildRuns, status: str, outcome: str
) -> None:
    children.run_id("study", "a")
    children.run_id("study", "b")
    children.finish("study", "a")
    running = {name: run.info.status for name, run in recorded(client).items()}
    assert running == {"a": "FINISHED", "b": "RUNNING"}
    children.close(status)
    runs = recorded(client)
    assert (runs["a"].info.status, runs["a"].data.tags["outcome"]) == ("FINISHED", "success")
    assert (runs["b"].info.status, runs["b"].data.tags["outcome"]) == (status, outcome)
