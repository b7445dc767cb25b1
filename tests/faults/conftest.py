"""What tests of faults share: permissions that bind this process even where it is root's."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

NOBODY = 65534


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
