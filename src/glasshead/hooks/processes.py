"""Create MLflow's store in one step; find runs whose process has ended; end this process cleanly on SIGTERM."""

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType
from typing import NoReturn

import psutil
from mlflow import MlflowClient

logger = logging.getLogger(__name__)

PROCESS_TAG = "glasshead.process"
SQLITE = "sqlite:///"


def process_tag() -> str:
    """Return `host/pid/start time` of this process, unique even if the pid is reused."""
    return f"{socket.gethostname()}/{os.getpid()}/{psutil.Process().create_time():.2f}"


def has_ended(tag: str) -> bool:
    """Return whether the process of `tag` ran on this host and has ended; False for processes on other hosts."""
    host, pid, started = tag.rsplit("/", 2)
    if host != socket.gethostname():
        return False
    try:
        return bool(abs(psutil.Process(int(pid)).create_time() - float(started)) > 1)
    except psutil.NoSuchProcess:
        return True


def close_orphans(client: MlflowClient, experiment_id: str) -> None:
    """Mark runs as KILLED that still read as running although their process has ended (SIGKILL, power cut)."""
    for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
        tag = run.data.tags.get(PROCESS_TAG)
        if tag and has_ended(tag):
            client.set_terminated(run.info.run_id, "KILLED")
            logger.warning("Run %s is marked as KILLED: its process has ended", run.info.run_name)


def exit_on_sigterm() -> None:
    """Make SIGTERM end this process through its exit handlers, unless SIGTERM already has a handler."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def create_store(uri: str) -> None:
    """Create the database of an SQLite `uri`, completely or not at all; leave existing and other stores alone.

    MLflow builds its tables in place, so runs that start at the same time would break each other's unfinished tables.
    """
    path = Path(uri.removeprefix(SQLITE))
    if not uri.startswith(SQLITE) or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        fresh = Path(folder) / path.name
        MlflowClient(f"{SQLITE}{fresh}").search_experiments()
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass  # another run has created it first
        except OSError:  # the file system has no hard links
            os.replace(fresh, path)
