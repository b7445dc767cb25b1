"""Hooks on the tiny project, with a real SQLite store: what is recorded, and that the status is true."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from kedro.framework.session import KedroSession
from kedro.io import AbstractDataset, DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro.runner import AbstractRunner, ThreadRunner
from mlflow.entities import Run
from mlflow.environment_variables import (
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
)
from mlflow.exceptions import MlflowException

from glasshead.datasets.atomic import ImageTableDataset
from glasshead.errors import ArtifactError, CatalogError, GateError, GlassheadError, TaxonomyError
from glasshead.hooks import routes
from glasshead.hooks.headlines import LIMIT, headline_metrics, headline_parameters
from glasshead.hooks.parameters import ParameterHooks
from glasshead.hooks.processes import PROCESS_TAG, close_orphans, has_ended, process_tag
from glasshead.hooks.record import command
from glasshead.hooks.tags import choices_of, git_tags, run_name, subject_of
from glasshead.images.sources.params import IngestParams
from glasshead.images.table import ImageTable
from glasshead.models.backbone import BackboneParams
from glasshead.pipelines.preprocess.nodes import PreprocessParams

TinyRun = Callable[..., Path]


@pytest.fixture
def client(tmp_path: Path, empty_store: Path) -> Iterator[mlflow.MlflowClient]:
    """Yield a client of an empty store, whose artifacts go to a folder of the test's."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(None)


@pytest.fixture
def tiny_run(tiny_project: Path) -> TinyRun:
    """Return a function that runs the tiny project in this process, with parameters of `preprocess`."""

    def run(
        runner: AbstractRunner | None = None, from_nodes: Sequence[str] = (), **parameters: str
    ) -> Path:
        options = {"runtime_params": {"preprocess": parameters}}
        with KedroSession.create(tiny_project, **options) as session:
            session.run(runner=runner, from_nodes=from_nodes)
        return tiny_project

    return run


def recorded(project: Path) -> list[Run]:
    """Return all runs of the project's store, newest first."""
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    return client.search_runs([entry.experiment_id for entry in client.search_experiments()])


def all_parameters(run: Run) -> dict[str, Any]:
    """Return what the run's artifact says of its parameters."""
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    content: dict[str, Any] = json.loads((folder / "parameters.json").read_text())
    return content


class TestRecord:
    def test_a_run_says_what_it_was(self, tiny_run: TinyRun) -> None:
        (run,) = recorded(tiny_run())
        *names, started = run.info.run_name.split(", ")
        assert names == ["heads", "scenes", "concepts", "nano-clip"]
        begun = datetime.strptime(started, "%Y-%m-%d %H:%M:%S").timestamp()
        assert abs(begun - run.info.start_time / 1000) < 60
        expected = {
            "source": "scenes",
            "env": "base",
            "classifier": "heads",
            "taxonomy": "concepts",
            "backbone": "nano-clip",
        }
        assert expected.items() <= run.data.tags.items()
        assert run.data.tags[PROCESS_TAG] == process_tag()

    def test_parameters_to_sort_by_are_logged_and_all_others_in_a_file(
        self, tiny_run: TinyRun
    ) -> None:
        project = tiny_run()
        (run,) = recorded(project)
        assert run.data.params == {
            "seed": "0",
            "backbone.name": "nano-clip",
            "ingest.source": "scenes",
            "preprocess.taxonomy": "concepts",
        }
        assert all_parameters(run) == {
            "seed": 0,
            "backbone": {"name": "nano-clip"},
            "ingest": {"source": "scenes"},
            "preprocess": {
                "taxonomy": "concepts",
                "fractions": {"train": 0.8},
                "name": "",
                "fate": "finish",
            },
        }

    def test_results_become_metrics_curves_and_artifacts(self, tiny_run: TinyRun) -> None:
        project = tiny_run()
        (run,) = recorded(project)
        client = mlflow.MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
        metrics = run.data.metrics
        bounds = ("accuracy", "accuracy_low", "accuracy_high")
        assert [metrics[name] for name in bounds] == [0.9, 0.8, 0.95]
        assert metrics["seconds"] > 0
        curves = {"audit_log/train_loss", "audit_log/validation_accuracy"}
        assert metrics.keys() == {*bounds, "temperature", "seconds"} | curves
        losses = client.get_metric_history(run.info.run_id, "audit_log/train_loss")
        assert [(entry.step, entry.value) for entry in losses] == [(0, 0.5), (1, 0.25)]
        accuracies = client.get_metric_history(run.info.run_id, "audit_log/validation_accuracy")
        assert [(entry.step, entry.value) for entry in accuracies] == [(1, 1.0)]  # NaN is no point
        files = {
            entry.path
            for folder in client.list_artifacts(run.info.run_id)
            for entry in client.list_artifacts(run.info.run_id, folder.path) or [folder]
        }
        assert files == {
            "parameters.json",
            "metrics/metrics.json",
            "tables/audit_log.csv",
            "figures/training_history.png",
            "documents/run_record.json",
        }

    def test_the_images_are_the_runs_input(self, tiny_run: TinyRun) -> None:
        project = tiny_run()
        (run,) = recorded(project)
        digest = ImageTable.open(project / "data" / "images.arrow").digest()
        (data,) = [entry.dataset for entry in run.inputs.dataset_inputs]
        assert (data.name, data.digest) == ("images", digest[:36])
        assert run.data.tags["data_digest"] == digest

    def test_everything_lies_under_the_project_whatever_the_working_directory(
        self, tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        project = tiny_run()
        (run,) = recorded(project)
        assert Path(run.info.artifact_uri.removeprefix("file://")).is_relative_to(
            project / "mlruns"
        )
        assert not list(elsewhere.iterdir())

    def test_the_end_says_where_results_lie(
        self, tiny_run: TinyRun, caplog: pytest.LogCaptureFixture
    ) -> None:
        project = tiny_run()
        assert caplog.messages[-1] == f"Results of heads: {project / 'data' / 'heads'}"

    def test_threads_share_the_run(self, tiny_run: TinyRun) -> None:
        (run,) = recorded(tiny_run(runner=ThreadRunner()))
        assert (run.info.status, run.data.tags["runner"]) == ("FINISHED", "ThreadRunner")
        assert {"accuracy", "audit_log/train_loss"} <= run.data.metrics.keys()


class TestRunRecord:
    def test_every_node_leaves_how_it_came_about(self, tiny_run: TinyRun) -> None:
        record = json.loads((tiny_run(name="x") / "data" / "run_record.json").read_text())
        nodes = {
            "make_images",
            *(f"heads.{name}" for name in ("train", "measure", "draw", "meet_fate")),
        }
        assert set(record) == nodes
        for found in record.values():
            assert found["seconds"] >= 0
            assert found["command"] == "kedro run --params=preprocess.name=x"
            assert found["device"].startswith("cpu, ")
            assert (found["commit"], found["changed"]) == (None, False)  # no repository
        assert record["heads.measure"]["inputs"] == ["heads.training_history"]
        assert record["heads.train"]["inputs"] == ["images"]  # and parameters
        assert record["heads.train"]["outputs"] == ["heads.training_history"]

    def test_nodes_that_do_not_run_again_keep_theirs(self, tiny_run: TinyRun) -> None:
        tiny_run()
        project = tiny_run(from_nodes=["heads.draw"])
        record = json.loads((project / "data" / "run_record.json").read_text())
        assert record["heads.train"]["command"] == "kedro run"
        assert record["heads.draw"]["command"] == "kedro run --from-nodes=heads.draw"

    def test_a_damaged_record_begins_anew(self, tiny_run: TinyRun, tiny_project: Path) -> None:
        (tiny_project / "data").mkdir(exist_ok=True)
        (tiny_project / "data" / "run_record.json").write_text("{")
        assert "heads.train" in (tiny_run() / "data" / "run_record.json").read_text()

    def test_the_command_is_the_one_that_was_given(self) -> None:
        params = {"ingest": {"source": "parquet", "parquet": {"path": "my data"}}, "seed": 3}
        given = {"env": "test", "pipeline_names": ["a", "b"], "runtime_params": params, "tags": ()}
        assert command(given) == (
            "kedro run --env=test --pipelines=a,b "
            "'--params=ingest.source=parquet,ingest.parquet.path=my data,seed=3'"
        )


class TestStatus:
    def test_a_finished_run_is_tagged_as_a_success(self, tiny_run: TinyRun) -> None:
        (run,) = recorded(tiny_run())
        assert run.info.status == "FINISHED"
        assert (run.data.tags["outcome"], run.data.tags["tracking"]) == ("success", "complete")

    def test_a_failing_node_fails_the_run(self, tiny_run: TinyRun, tiny_project: Path) -> None:
        with pytest.raises(GateError):
            tiny_run(fate="gate")
        (run,) = recorded(tiny_project)
        assert (run.info.status, run.data.tags["outcome"]) == ("FAILED", "failure")

    def test_the_next_run_closes_one_that_was_interrupted_in_this_process(
        self, tiny_run: TinyRun, tiny_project: Path
    ) -> None:
        with pytest.raises(KeyboardInterrupt):
            tiny_run(fate="interrupt")
        tiny_run()
        assert [run.info.status for run in recorded(tiny_project)] == ["FINISHED", "KILLED"]


class TestMlflowFails:
    def test_a_server_that_does_not_answer_is_soon_given_up(self) -> None:
        assert MLFLOW_HTTP_REQUEST_MAX_RETRIES.get() == 1  # MLflow's own defaults wait for minutes
        assert MLFLOW_HTTP_REQUEST_TIMEOUT.get() == 10

    def test_a_server_that_is_down_costs_no_result(
        self, tiny_run: TinyRun, tiny_project: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings = tiny_project / "conf" / "base" / "mlflow.yml"
        settings.write_text("server: {mlflow_tracking_uri: 'http://127.0.0.1:9'}\n")
        tiny_run()
        assert (tiny_project / "data" / "heads" / "metrics.json").is_file()
        assert "MLflow's record of this run is incomplete" in caplog.text

    def test_a_server_that_goes_down_in_mid_run_costs_no_result(
        self, tiny_run: TinyRun, tiny_project: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        tiny_run(fate="lose_server")
        assert (tiny_project / "data" / "heads" / "metrics.json").is_file()
        assert "MLflow's record of this run is incomplete" in caplog.text

    def test_a_record_with_a_gap_says_so(
        self, tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*args: object) -> None:
            raise MlflowException("no room for numbers")

        monkeypatch.setitem(routes.ROUTES, "metrics", refuse)
        (run,) = recorded(tiny_run())
        assert run.info.status == "FINISHED"
        assert run.data.tags["tracking"] == "incomplete: no room for numbers"
        assert "audit_log/train_loss" in run.data.metrics


SIGNALS = ("SIGINT", "SIGTERM", "SIGKILL")


@pytest.fixture(scope="module")
def signalled(
    copy_tiny: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, int]]:
    """Start four `kedro run`s at once on a project without a store and send a signal to three of them.

    Returns the project and the exit code of each run by the name of its signal, or none.
    """
    project = copy_tiny(tmp_path_factory.mktemp("signals") / "tiny")
    started = {name: start(project, name) for name in (*SIGNALS, "none")}
    for name in SIGNALS:
        wait_for(project / f"waiting.{name}", started[name])
        started[name].send_signal(getattr(signal, name))
    return project, {name: process.wait(timeout=600) for name, process in started.items()}


def start(project: Path, name: str) -> subprocess.Popen[bytes]:
    parameters = f"preprocess.fate={'finish' if name == 'none' else 'wait'},preprocess.name={name}"
    return subprocess.Popen(
        [sys.executable, "-m", "kedro", "run", f"--params={parameters}"],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "src")},
        stderr=(project / f"{name}.log").open("wb"),
    )


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while not path.exists():
        assert process.poll() is None, path.with_name(f"{path.suffix[1:]}.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.1)


class TestSignals:
    def test_exit_codes(self, signalled: tuple[Path, dict[str, int]]) -> None:
        _, codes = signalled
        assert codes == {"SIGINT": 130, "SIGTERM": 143, "SIGKILL": -9, "none": 0}

    def test_one_run_each_with_its_true_status(
        self, signalled: tuple[Path, dict[str, int]]
    ) -> None:
        project, _ = signalled
        runs = recorded(project)
        assert len(runs) == 4
        assert all(run.data.metrics["accuracy"] == 0.9 for run in runs)
        assert {all_parameters(run)["preprocess"]["name"]: run.info.status for run in runs} == {
            "SIGINT": "KILLED",
            "SIGTERM": "KILLED",
            "SIGKILL": "RUNNING",  # nobody was left to say otherwise
            "none": "FINISHED",
        }

    def test_what_sigkill_left_is_closed_by_the_next_run(
        self, signalled: tuple[Path, dict[str, int]], tmp_path: Path
    ) -> None:
        store = tmp_path / "mlflow.db"
        shutil.copy(signalled[0] / "mlruns" / "mlflow.db", store)
        client = mlflow.MlflowClient(f"sqlite:///{store}")
        experiment = client.get_experiment_by_name("glasshead").experiment_id
        close_orphans(client, experiment)
        assert {run.info.status for run in client.search_runs([experiment])} == {
            "KILLED",
            "FINISHED",
        }


class TestProcesses:
    def test_this_process_is_alive(self) -> None:
        assert not has_ended(process_tag())

    def test_a_reused_pid_is_another_process(self) -> None:
        host, pid, _ = process_tag().rsplit("/", 2)
        assert has_ended(f"{host}/{pid}/1.00")

    def test_a_process_that_was_waited_for_is_gone(self) -> None:
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        host = process_tag().rsplit("/", 2)[0]
        assert has_ended(f"{host}/{process.pid}/{time.time():.2f}")

    def test_other_hosts_cannot_be_judged(self) -> None:
        assert not has_ended("another-host/1/1.00")


class TestHeadlines:
    def test_bounds_stand_beside_the_estimates_that_have_them(self) -> None:
        results = {
            "accuracy": {"value": 0.5, "low": 0.4, "high": None, "n": 3},
            "nll": {"value": 1, "low": 0.9, "high": 1.1},
            "embed/encoded": 3,
            "coverage": {"value": None},
            "temperature": math.inf,
            "onnx": {"agreement": 1.0, "bytes": 7},
        }
        assert dict(headline_metrics(results)) == {
            "accuracy": 0.5,
            "accuracy_low": 0.4,
            "nll": 1.0,
            "embed/encoded": 3.0,
            "onnx/agreement": 1.0,
        }

    def test_what_is_not_named_is_no_headline(self) -> None:
        results = {f"new/{index}": {"value": 0.5} for index in range(LIMIT + 1)}
        assert not dict(headline_metrics(results | {"accuracy_new": 1.0, "is_new": True}))

    def test_parameters_are_chosen_by_their_names(self) -> None:
        parameters = {
            "seed": 1,
            "explain": {"budget": {"seed": 2, "steps": 8}},
            "train_cnn": {
                "architecture": "resnet18",
                "training": {"optimiser": {"learning_rate": 0.1, "matrix_learning_rate": 0.2}},
            },
        }
        assert dict(headline_parameters(parameters)) == {
            "seed": "1",
            "train_cnn.architecture": "resnet18",
            "train_cnn.training.optimiser.learning_rate": "0.1",
        }


class TestRoutes:
    def test_a_renamed_dataset_is_logged_as_before(
        self, tiny_run: TinyRun, tiny_project: Path
    ) -> None:
        catalog = tiny_project / "conf" / "base" / "catalog.yml"
        catalog.write_text(catalog.read_text().replace('"{classifier}.metrics"', "numbers"))
        registry = tiny_project / "src" / "tiny" / "pipeline_registry.py"
        registry.write_text(registry.read_text().replace('"heads.metrics"', '"numbers"'))
        catalog.write_text(catalog.read_text().replace("data/{classifier}/metrics", "data/metrics"))
        (run,) = recorded(tiny_run())
        assert run.data.metrics["accuracy"] == 0.9

    @pytest.mark.parametrize("kind", ["metric", True, ["metrics"]])
    def test_an_unknown_kind_is_refused_before_anything_runs(
        self, tiny_run: TinyRun, tiny_project: Path, kind: object
    ) -> None:
        catalog = tiny_project / "conf" / "base" / "catalog.yml"
        catalog.write_text(catalog.read_text().replace("mlflow: metrics", f"mlflow: {kind}"))
        with pytest.raises(CatalogError, match=re.escape(f"metadata.mlflow = {kind!r}")):
            tiny_run()
        assert not (tiny_project / "data").exists()
        assert not recorded(tiny_project)

    def test_the_best_method_is_a_tag_and_its_measures_a_file(
        self, tmp_path: Path, client: mlflow.MlflowClient
    ) -> None:
        def measure(insertion: float, randomised: float) -> dict[str, dict[str, float]]:
            return {
                "insertion_auc": {"value": insertion},
                "randomisation": {"value": randomised, "low": randomised, "high": randomised},
            }

        explanations = {
            "random": measure(0.99, 0.0),  # a baseline
            "saliency": measure(0.5, 0.0),
            "occlusion": measure(0.6, 0.0),
            "lrp": measure(0.9, 1.0),  # whose maps do not depend on the weights
        }
        path = tmp_path / "explanations.json"
        path.write_text("{}")
        run_id = client.create_run("0").info.run_id
        routes.ROUTES["explanations"](run_id, explanations, path)
        run = client.get_run(run_id)
        assert run.data.tags["best_explanation"] == "occlusion"
        assert not run.data.metrics
        assert [entry.path for entry in client.list_artifacts(run_id, "metrics")] == [
            "metrics/explanations.json"
        ]


def test_steps_become_curves_over_steps(client: mlflow.MlflowClient) -> None:
    run_id = client.create_run("0").info.run_id
    history = {
        "step": [1, 2, 3],
        "loss": [2.0, 1.0, 0.5],
        "gradient_norm": [0.1, None, 0.3],
        "images": [8, 16, 24],
    }
    routes.log_curves(run_id, pd.DataFrame(history), "step_log")
    assert client.get_run(run_id).data.metrics.keys() == {"step_log/loss", "step_log/gradient_norm"}
    curves = {
        name: [(point.step, point.value) for point in client.get_metric_history(run_id, name)]
        for name in ("step_log/loss", "step_log/gradient_norm")
    }
    assert curves == {
        "step_log/loss": [(1, 2.0), (2, 1.0), (3, 0.5)],
        "step_log/gradient_norm": [(1, 0.1), (3, 0.3)],
    }


def test_a_project_outside_git_has_no_commit(tmp_path: Path) -> None:
    assert git_tags(tmp_path) == {}


def test_a_commit_and_what_differs_from_it(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
        command = ["git", *identity, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, check=True, text=True
        ).stdout

    git("init")
    git("commit", "--allow-empty", "--message=first")
    commit = git("rev-parse", "HEAD").strip()
    assert git_tags(tmp_path) == {"mlflow.source.git.commit": commit, "git.changed": "false"}
    (tmp_path / "new.txt").touch()
    assert git_tags(tmp_path)["git.changed"] == "true"


def test_pipelines_name_the_run() -> None:
    choices = {"source": "scenes", "backbone": "openai/clip-vit-base-patch32"}
    ending = "scenes, clip-vit-base-patch32, 2026-01-01 12:00:00"
    for names, subject in ((["embed"], "embed"), (["a", "b"], "a+b"), (None, "heads")):
        assert subject_of(names) == subject
        assert run_name(subject, choices, "2026-01-01 12:00:00") == f"{subject}, {ending}"


def test_what_a_run_does_not_choose_is_no_part_of_its_name() -> None:
    parameters = {"params:preprocess.taxonomy": "seed", "params:backbone.name": "nano-clip"}
    assert choices_of(Pipeline([Node(abs, "logits", "norm")]), parameters) == {}
    pipeline = Pipeline([Node(abs, "params:backbone", "norm")])
    assert choices_of(pipeline, parameters) == {"backbone": "nano-clip"}


def test_a_node_draws_the_same_wherever_a_run_begins(tiny_run: TinyRun) -> None:
    metrics = tiny_run() / "data" / "heads" / "metrics.json"
    first = metrics.read_text()
    tiny_run(from_nodes=["heads.measure"])
    assert metrics.read_text() == first


class TestInputsThatCannotBeRead:
    """A run that must fail fails before its first node."""

    def start(self, **changed: object) -> None:
        given = {
            "params:ingest": IngestParams(),
            "params:preprocess": PreprocessParams(),
            "params:backbone": BackboneParams(name="nano-clip"),
            "taxonomies": {"classes": {"each_class": True}, "concepts": {"subtasks": {}}},
        }
        names = [name.replace("params_", "params:") for name in changed]
        content = given | dict(zip(names, changed.values(), strict=True))
        catalog = DataCatalog(
            {
                name: value if isinstance(value, AbstractDataset) else MemoryDataset(value)
                for name, value in content.items()
            }
        )
        pipeline = Pipeline([Node(lambda *read: None, list(content), "done", name="read")])
        ParameterHooks().before_pipeline_run(pipeline, catalog)

    def test_what_is_there_passes(self):
        self.start()
        self.start(params_backbone=BackboneParams(name="auto"))
        self.start(params_backbone=BackboneParams(name="timm:resnet18"))
        self.start(params_backbone=BackboneParams(name="openai/clip-vit-base-patch32"))

    @pytest.mark.parametrize(
        ("name", "value", "error"),
        [
            (
                "params_ingest",
                {"source": "image_folder", "image_folder": {"path": "/no"}},
                "/no is not",
            ),
            (
                "params_ingest",
                {"source": "parquet", "parquet": {"path": "/no"}},
                "/no does not exist",
            ),
            ("params_preprocess", {"taxonomy": "nope"}, "no taxonomy 'nope'"),
            ("params_preprocess", {"taxonomy": "concepts"}, "Taxonomy 'concepts' has no subtasks"),
            ("params_backbone", {"name": "nope"}, "no backbone folder 'nope'"),
            ("params_backbone", {"name": "timm:nope"}, "no architecture 'nope'"),
        ],
    )
    def test_what_is_missing_or_does_not_fit_is_named(self, name, value, error):
        kinds = {
            "params_ingest": IngestParams,
            "params_preprocess": PreprocessParams,
            "params_backbone": BackboneParams,
        }
        with pytest.raises(GlassheadError, match=error):
            self.start(**{name: kinds[name].model_validate(value)})

    def test_images_need_room_on_the_disk(self, tmp_path, monkeypatch):
        for name in ("a", "b"):
            (tmp_path / "photos" / name).mkdir(parents=True)
            (tmp_path / "photos" / name / "1.jpg").write_bytes(bytes(1000))
        ingest = IngestParams(source="image_folder", image_folder={"path": tmp_path / "photos"})
        table = ImageTableDataset(filepath=str(tmp_path / "new" / "images.arrow"))
        monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))

        def start(free: int) -> None:
            usage = shutil._ntuple_diskusage(0, 0, free)
            monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
            self.start(params_ingest=ingest, images=table)

        start(4000)  # the table and the temporary file, 2000 bytes each
        with pytest.raises(ArtifactError, match=f"on the disk of {tmp_path}, which has"):
            start(3999)
        table._filepath.parent.mkdir()
        table._filepath.touch()
        start(0)  # an unchanged run writes nothing

    def test_a_taxonomy_must_fit_the_folders(self, tmp_path):
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
        ingest = IngestParams(source="image_folder", image_folder={"path": tmp_path})
        taxonomies = {"wheels": {"subtasks": {"wheels": {"map": {"yes": ["a"], "no": []}}}}}
        with pytest.raises(TaxonomyError, match="no value for these classes: wheels: b"):
            self.start(
                params_ingest=ingest,
                params_preprocess=PreprocessParams(taxonomy="wheels"),
                taxonomies=taxonomies,
            )
