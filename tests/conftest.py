"""What several tests share. Data that a machine may lack skips a test by one reason: absent data."""

import asyncio
import hashlib
import os
import pickle
import runpy
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from pkgutil import iter_modules
from types import SimpleNamespace

import mlflow
import nbformat
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import settings
from jaxtyping import install_import_hook
from jupyter_client.manager import AsyncKernelManager
from kedro.framework.project import configure_project
from nbclient import NotebookClient
from torchvision.datasets import CIFAR10

from glasshead.cli import cli
from glasshead.hooks import TrackingHooks
from glasshead.hooks.headlines import LIMIT
from glasshead.images.scenes import CLASSES
from glasshead.settings import HOOKS

settings.register_profile("glasshead", deadline=None)  # a busy machine is no fault
settings.load_profile("glasshead")

ROOT = Path(__file__).parents[1]
# Shapes in signatures are checked in tests alone, but not where a test hands over a stand-in or what is to be refused.
UNCHECKED = {"concepts", "flips", "interventions", "methods", "evaluation"}
EXPLAINERS = {module.name for module in iter_modules([str(ROOT / "src/glasshead/explainers")])}
CHECKED = [
    "audit",
    "calibration",
    "embedding",
    *(f"explainers.{e}" for e in EXPLAINERS - UNCHECKED),
]
install_import_hook([f"glasshead.{name}" for name in sorted(CHECKED)], "beartype.beartype")
# Minutes, where others take seconds.
LONGEST = ("test_corridor.py", "test_how_to_corridor.py", "test_transfer_corridor.py")


@pytest.fixture(scope="session")
def cifar10_jpeg() -> Path:
    """Return the folder of CIFAR-10-JPEG, named by an environment variable or beside the checkout."""
    beside = ROOT.parent / "shared" / "data" / "cifar10-jpeg"
    folder = Path(os.environ.get("GLASSHEAD_CIFAR10_JPEG", beside))
    if not (folder / "train.parquet").is_file():
        pytest.skip("absent data: CIFAR-10-JPEG (GLASSHEAD_CIFAR10_JPEG names its folder)")
    return folder


@pytest.fixture
def write_cifar10(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, list[int]], Path]:
    """Return a function that writes CIFAR-10 in torchvision's format and makes torchvision expect its MD5s.

    It takes a folder and the labels of each batch, of which there are six. Images are noise, tinted by class.
    """

    def write(folder: Path, labels: list[int]) -> Path:
        rng = np.random.default_rng(0)
        batches = folder / CIFAR10.base_folder
        batches.mkdir(parents=True)

        def put(name: str, content: dict) -> list[str]:
            data = pickle.dumps(content)
            (batches / name).write_bytes(data)
            return [name, hashlib.md5(data).hexdigest()]

        def batch() -> dict:
            noise = rng.integers(0, 128, (len(labels), 3, 1024), dtype=np.uint8)
            tint = np.array([[k % 3, k // 3 % 3, k // 9] for k in labels], np.uint8)
            return {"data": (noise + 60 * tint[:, :, None]).reshape(-1, 3072), "labels": labels}

        train = [put(f"data_batch_{k}", batch()) for k in range(1, 6)]
        meta = put("batches.meta", {"label_names": list(CLASSES)})
        monkeypatch.setattr(CIFAR10, "train_list", train)
        monkeypatch.setattr(CIFAR10, "test_list", [put("test_batch", batch())])
        monkeypatch.setattr(
            CIFAR10, "meta", {"filename": meta[0], "key": "label_names", "md5": meta[1]}
        )
        return folder

    return write


@pytest.fixture(scope="session")
def planted_report() -> SimpleNamespace:
    """Return the functions of planted_report.py, which make what reports are on."""
    return SimpleNamespace(**runpy.run_path(str(ROOT / "tests" / "planted_report.py")))


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an MLflow database with its tables, which take seconds to create."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def copy_tiny() -> Callable[[Path], Path]:
    """Return a function that copies tests/tiny_project, with this project's logging and MLflow settings."""

    def copy(project: Path) -> Path:
        shutil.copytree(ROOT / "tests" / "tiny_project", project)
        for name in ("logging.yml", "base/mlflow.yml"):
            shutil.copy(ROOT / "conf" / name, project / "conf" / name)
        return project

    return copy


@pytest.fixture
def tiny_project(
    copy_tiny: Callable[[Path], Path],
    tmp_path: Path,
    empty_store: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Path]:
    """Yield a copy of the tiny project that has a store, as working directory and Kedro's current project."""
    project = copy_tiny(tmp_path / "tiny")
    (project / "mlruns").mkdir()
    shutil.copy(empty_store, project / "mlruns")
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(project / "src")
    configure_project("tiny")
    yield project
    for hooks in HOOKS:
        if isinstance(hooks, TrackingHooks):
            hooks.close("KILLED")
    mlflow.set_tracking_uri(None)
    for name in [name for name in sys.modules if name.split(".")[0] == "tiny"]:
        del sys.modules[name]


def run_words(
    options: Iterable[str], given: Mapping[str, object], also: str, to: str
) -> Iterator[str]:
    """Yield `options` with what is given for placeholders, all parameters in one --params, and what is run to."""
    params = [also] if also else []
    for option in options:
        for placeholder, value in given.items():
            option = option.replace(placeholder, str(value))
        if option.startswith("--params="):
            params.insert(0, option.removeprefix("--params="))
        else:
            yield option
    if params:
        yield f"--params={','.join(params)}"
    if to:
        yield f"--to-outputs={to}"


def check_legible(store: str) -> None:
    """Assert that each run of an MLflow store has few enough metrics and parameters for a table."""
    client = mlflow.MlflowClient(store)
    for run in client.search_runs([entry.experiment_id for entry in client.search_experiments()]):
        for entries in (run.data.metrics, run.data.params):
            assert len(entries) <= LIMIT, (run.info.run_name, sorted(entries))


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path
) -> Iterator[Callable[..., Result]]:
    """Yield a function that does `kedro run --env test` with more options in a fresh copy of the project.

    It takes the words of a documented command, the values `given` for its placeholders, parameters to set `also`, and
    the datasets `to` which it goes.
    """
    project = tmp_path_factory.mktemp("corridor") / "project"
    project.mkdir()
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(ROOT / name, project)
    shutil.copytree(ROOT / "conf", project / "conf", ignore=shutil.ignore_patterns("local"))
    (project / "conf" / "local").mkdir()
    (project / "src").symlink_to(ROOT / "src")
    (project / "mlruns").mkdir()
    shutil.copy(empty_store, project / "mlruns")
    configure_project("glasshead")

    def invoke(
        *options: str, given: Mapping[str, object] | None = None, also: str = "", to: str = ""
    ) -> Result:
        words = run_words(options, given or {}, also, to)
        result = CliRunner().invoke(cli, ["run", "--env", "test", *words])
        check_legible(f"sqlite:///{project}/mlruns/mlflow.db")
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        yield invoke
    for hooks in HOOKS:
        if isinstance(hooks, TrackingHooks):
            hooks.close("KILLED")
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="session")
def execute_notebook() -> Iterator[Callable[[str], None]]:
    """Yield a function that runs a notebook in the working directory; all share one kernel, which is slow to start."""
    manager, loop = AsyncKernelManager(), asyncio.new_event_loop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT / "src"))
        loop.run_until_complete(manager.start_kernel())

    def execute(name: str) -> None:
        notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        start = f"%reset -f\nimport os\nos.chdir({str(Path.cwd())!r})"
        notebook.cells.insert(0, nbformat.v4.new_code_cell(start))
        loop.run_until_complete(NotebookClient(notebook, km=manager, timeout=600).async_execute())

    yield execute
    loop.run_until_complete(manager.shutdown_kernel(now=True))
    loop.close()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin each test in one random state of torch, whichever files the process has run; skip for an absent device."""
    torch.manual_seed(0)
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("absent device: no CUDA GPU")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest files begin, so that no process is left with one of them in the end."""
    items.sort(key=lambda item: item.path.name not in LONGEST)
