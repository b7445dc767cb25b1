"""Child runs of a comparison: what is recorded where, and that each status is true."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from kedro.pipeline import Node, Pipeline
from mlflow.entities import Run

from glasshead.hooks.children import ChildRuns, variant_of
from glasshead.hooks.processes import PROCESS_TAG, process_tag


def train(seed: int) -> int:
    return seed


def comparison() -> Pipeline:
    template = Pipeline(
        [
            Node(train, "params:seed", "model", name="train"),
            Node(train, "model", "metrics", name="measure"),
        ]
    )
    variants = ("study.a", "study.b")
    return sum(
        (Pipeline(template, namespace=name, parameters={"params:seed"}) for name in variants),
        Pipeline([]),
    )


@pytest.fixture
def client(tmp_path: Path, empty_store: Path) -> Iterator[mlflow.MlflowClient]:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(None)


@pytest.fixture
def children(client: mlflow.MlflowClient) -> ChildRuns:
    return ChildRuns(client.create_run("0").info.run_id, "0", comparison())


def recorded(client: mlflow.MlflowClient) -> dict[str, Run]:
    runs = client.search_runs(["0"])
    return {run.info.run_name: run for run in runs if "mlflow.parentRunId" in run.data.tags}


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("study.a.metrics", "study.a"),
        ("cnn.metrics", None),
        ("study.table", None),
        ("images", None),
        ("params:cnn.training.epochs", None),
    ],
)
def test_a_namespace_of_two_parts_is_a_variant(name: str, variant: str | None) -> None:
    assert variant_of(name) == variant


def test_a_variant_has_one_run_nested_under_its_parent(
    client: mlflow.MlflowClient, children: ChildRuns
) -> None:
    child = children.run_id("study.a.model")
    assert child == children.run_id("study.a.metrics") != children.run_id("study.b.model")
    parent = children.run_id("table")
    tags = recorded(client)["a"].data.tags
    assert tags["mlflow.parentRunId"] == parent
    assert (tags["comparison"], tags[PROCESS_TAG]) == ("study", process_tag())


def test_it_is_finished_by_its_last_result_alone(
    client: mlflow.MlflowClient, children: ChildRuns
) -> None:
    for dataset in ("study.a.model", "study.b.model", "study.a.metrics"):
        children.run_id(dataset)
        children.note_saved(dataset)
    assert {name: run.info.status for name, run in recorded(client).items()} == {
        "a": "FINISHED",
        "b": "RUNNING",
    }


@pytest.mark.parametrize(("status", "outcome"), [("FAILED", "failure"), ("KILLED", "interrupted")])
def test_a_run_that_ends_early_spoils_only_the_variants_that_lack_results(
    client: mlflow.MlflowClient, children: ChildRuns, status: str, outcome: str
) -> None:
    for dataset in ("study.a.model", "study.a.metrics", "study.b.model"):
        children.run_id(dataset)
        children.note_saved(dataset)
    children.close(status)
    runs = recorded(client)
    assert (runs["a"].info.status, runs["a"].data.tags["outcome"]) == ("FINISHED", "success")
    assert (runs["b"].info.status, runs["b"].data.tags["outcome"]) == (status, outcome)
