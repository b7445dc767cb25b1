"""Starting Ray here or connecting to its address, and restoring the state afterwards."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Literal

from glasshead.errors import ParameterError

_ANSWER_SECONDS = 10  # the longest wait for an answer from a cluster's address
_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}


def import_ray() -> ModuleType:
    """Return the module `ray`, with its usage statistics off; ParameterError if Ray is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # or Ray sends statistics home
    try:
        import ray
    except ImportError as error:
        raise ParameterError(
            "embed.engine is ray, but Ray is not installed. Run `pip install -c constraints.txt -e '.[ray]'` in the "
            "project's folder, or set embed.engine to local."
        ) from error
    return ray


@contextmanager
def ray_started(ray: ModuleType, workers: int | Literal["auto"]) -> Iterator[None]:
    """Run Ray on this machine, with as many CPUs as `workers`."""
    cpus = None if workers == "auto" else workers
    with _sigterm_kept():
        ray.init("local", num_cpus=cpus, include_dashboard=False, **_QUIET)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def ray_connected(ray: ModuleType, address: str | None) -> Iterator[None]:
    """Connect to the Ray cluster at `address`; an existing connection of this process is used and kept.

    Raises ParameterError if no cluster answers.
    """
    if ray.is_initialized():
        yield
        return
    try:
        if address and ":" in address:  # ray.init would try for minutes
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS).close()
        with _sigterm_kept():
            ray.init(address, **_QUIET)
    except (OSError, ValueError, RuntimeError) as error:
        raise ParameterError(
            f"embed.ray.address is {address!r}, but no Ray answers there: {error}. Set it to HOST:PORT of the "
            "cluster's head node, or to null to start Ray on this machine."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Restore the handler of SIGTERM, which ray.init replaces, so that killed runs are reported as such."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
