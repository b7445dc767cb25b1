"""Atomic writing of files and folders: to a temporary name beside the target, then fsync, then rename."""

import ctypes
import os
import secrets
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOSPC
from functools import cache
from pathlib import Path

from glasshead.errors import ArtifactError

FAILPOINT = "GLASSHEAD_FAILPOINT"
_TEMPORARY = ".glasshead-"
_ABANDONED_AFTER = 24 * 3600  # seconds until a temporary file counts as left by a killed run
_passages: dict[str, int] = {}


def failpoint(step: str) -> None:
    """Fail at `step` if the environment variable GLASSHEAD_FAILPOINT says so; for tests of crashes and full disks.

    The variable is `<action>:<step>:<n>`. At the n-th passage of `step`, the action `kill` makes the process kill
    itself, and `enospc` raises the error of a full disk. Usually the variable is not set, and nothing happens.
    """
    wanted = os.environ.get(FAILPOINT)
    if not wanted:
        return
    _passages[step] = _passages.get(step, 0) + 1
    if wanted == f"kill:{step}:{_passages[step]}":
        os.kill(os.getpid(), signal.SIGKILL)
    if wanted == f"enospc:{step}:{_passages[step]}":
        raise OSError(ENOSPC, os.strerror(ENOSPC))


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; it becomes `path` when the block ends without an error.

    A reader sees the complete old file or the complete new one, even if the process is killed. An error leaves the old
    file intact and removes the temporary one. Raises ArtifactError if the file cannot be written.
    """
    with _replacing(path) as temporary:
        yield temporary
        failpoint("write/filled")
        _sync(temporary)
        failpoint("write/synced")
        os.replace(temporary, path)
        failpoint("write/renamed")


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path` to fill; it becomes `path` when the block ends without an error.

    It replaces an old folder with all its content. Errors are handled as in `write_atomically`.
    """
    with _replacing(path) as temporary:
        temporary.mkdir()
        yield temporary
        failpoint("write/filled")
        for folder, _, files in os.walk(temporary):
            for name in (*files, "."):
                _sync(Path(folder, name))
        failpoint("write/synced")
        if path.exists():
            _exchange(temporary, path)
        else:
            os.rename(temporary, path)
        failpoint("write/renamed")


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    temporary = path.parent / f"{_TEMPORARY}{secrets.token_hex(8)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        yield temporary
        _sync(path.parent)
    except OSError as error:
        raise ArtifactError(
            f"Cannot write {path}: {error.strerror or error}. The old content is intact. Free space on the disk or "
            "make the folder writable, then run again."
        ) from error
    finally:
        _remove(temporary)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(new: Path, old: Path) -> None:
    """Swap two folders: in one step if the file system supports it, else by renaming, which is undone on an error."""
    at_working_directory, exchange_flag = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of renameat2(2)
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is not None:
        paths = os.fsencode(new), os.fsencode(old)
        if not renameat2(
            at_working_directory, paths[0], at_working_directory, paths[1], exchange_flag
        ):
            return
    aside = new.with_suffix(".old.tmp")
    os.rename(old, aside)
    try:
        os.rename(new, old)
    except OSError:
        os.rename(aside, old)
        raise
    os.rename(aside, new)


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@cache  # once per folder and process, not before every file
def _remove_abandoned(folder: Path) -> None:
    for path in folder.glob(f"{_TEMPORARY}*.tmp"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                _remove(path)
