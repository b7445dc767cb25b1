"""What several tests share. Data that a machine may lack skips a test by one reason: absent data."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
import torch
from kedro.framework.project import configure_project

from glasshead.hooks import TrackingHooks
from glasshead.settings import HOOKS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def cifar10_jpeg() -> Path:
    """Return the folder of CIFAR-10-JPEG, named by an environment variable or beside the checkout."""
    beside = ROOT.parent / "shared" / "data" / "cifar10-jpeg"
    folder = Path(os.environ.get("GLASSHEAD_CIFAR10_JPEG", beside))
    if not (folder / "train.parquet").is_file():
        pytest.skip("absent data: CIFAR-10-JPEG (GLASSHEAD_CIFAR10_JPEG names its folder)")
    return folder


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


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("absent device: no CUDA GPU")
