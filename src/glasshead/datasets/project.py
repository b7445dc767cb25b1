"""The project's catalog outside a run, for notebooks and scripts."""

import os
from pathlib import Path

from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog
from kedro.utils import find_kedro_project

from glasshead.errors import ParameterError


def open_project(folder: Path | None = None) -> DataCatalog:
    """Return the catalog of the project around `folder`, by default the working directory.

    The project's root becomes the working directory, as its paths start there. No session is opened and no run tracked.

    Raises ParameterError if there is no project.
    """
    start = (folder or Path.cwd()).resolve()
    root = find_kedro_project(start)
    if root is None:
        raise ParameterError(
            f"{start} is not inside a clone of the project. Give the clone's folder."
        )
    os.chdir(root)
    config = OmegaConfigLoader("conf", base_env="base", default_run_env="local")
    return DataCatalog.from_config(config["catalog"])
