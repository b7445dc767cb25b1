"""What tests of faults fraction: other processes, and permissions that bind this one even where it is root's."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

import glasshead

NOBODY = 65534
RunPython = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def run_python() -> RunPython:
    """Return a function that runs this Python with the project's sources; keywords are of its environment."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        sources = str(Path(glasshead.__file__).parents[1])
        return subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": sources, **environment},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def try_failpoints(
    run_python: RunPython, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, list[str]], dict[str, dict]]:
    """Return a function that runs a script of this folder, and returns what it found by failpoint."""

    def run(script: str, failpoints: list[str]) -> dict[str, dict]:
        path = Path(__file__).with_name(script)
        done = run_python(str(path), str(tmp_path_factory.mktemp("killed")), *failpoints)
        assert done.returncode == 0, done.stderr
        return {line["failpoint"]: line for line in map(json.loads, done.stdout.splitlines())}

    return run


@contextmanager
def _as_ordinary_user() -> Iterator[None]:
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if was_root:
            os.seteuid(0)


@pytest.fixture
def as_ordinary_user() -> Callable[[], AbstractContextManager[None]]:
    """Return a context in which this process, if it is root's, is an ordinary user's."""
    return _as_ordinary_user


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Yield a new folder that any user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def read_only_folder(open_folder) -> Iterator[Path]:
    """Yield a folder that this process, made an ordinary user's, may read but not write."""
    folder = open_folder / "cache"
    folder.mkdir()
    folder.chmod(0o555)
    with _as_ordinary_user():
        yield folder
    folder.chmod(0o755)
