"""MLflow's SQLite store, created in one step."""

import os
import tempfile
from pathlib import Path

from mlflow import MlflowClient

SQLITE = "sqlite:///"


def create_store(uri: str) -> None:
    """Create the database of an SQLite `uri`, whole or not at all; an existing one and other stores are left alone.

    MLflow builds its tables in place, where runs that start together break each other's half-built ones.
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
            pass  # another run was first
        except OSError:  # a file system without hard links
            os.replace(fresh, path)
