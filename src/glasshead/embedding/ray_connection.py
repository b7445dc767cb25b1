"""Having a Ray to work with: installed, started here or reached at its address, and left as it was found."""

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

_ANSWER_SECONDS = 10  # that the address of a cluster may take to answer
_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}


def import_ray() -> ModuleType:
    """Return the module `ray`, with its reports home switched off; ParameterError where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # or Ray reports home
    try:
        import ray
    except ImportError as error:
        raise ParameterError(
            "embed.engine is ray, but Ray is not installed. Run `pip install -c constraints.txt -e '.[ray]'` in the "
            "project's folder, or set it to local."
        ) from error
    module: ModuleType = ray
    return module


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
    """Be connected to the Ray at `address`; a connection that this process has already is used, and kept.

    Raises ParameterError where no Ray answers.
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
            f"embed.ray.address is {address!r}, where no Ray answers: {error}. Set it to HOST:PORT of the cluster's "
            "head node, or to null to start Ray here."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Give SIGTERM back to whom it belonged: ray.init takes it, and a killed run would not be told as one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
