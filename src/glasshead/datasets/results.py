"""The Kedro dataset of a folder of results, which may hold more or fewer files from run to run."""

from pathlib import Path
from typing import Any

from glasshead.datasets.atomic import AtomicFigure, AtomicFile, AtomicJSON, AtomicTable
from glasshead.datasets.paths import StoreDataset
from glasshead.errors import ArtifactError
from glasshead.manifest import NAME, Manifest

FORMATS: dict[str, type[AtomicFile[Any, Any]]] = {
    ".csv": AtomicTable,
    ".json": AtomicJSON,
    ".png": AtomicFigure,
}


class Results:
    """The results in the folder `path`; each is read alone, by its path relative to that folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The folder's own name, which is the classifier's name if the results are those of one."""
        return self.path.name

    def load(self, name: str) -> Any | None:
        """Return the content of the file `name`, such as "risk/findings.json", or None if no run has left it yet.

        Raises DatasetError, caused by an ArtifactError, if the file is damaged.
        """
        path = self.path / name
        return FORMATS[path.suffix](filepath=str(path)).load() if path.is_file() else None

    def training(self, name: str) -> str | None:
        """Return the id of the training that the file `name` comes from, or None if no manifest lists the file."""
        path = self.path / name
        folder = next((parent for parent in path.parents if (parent / NAME).is_file()), None)
        if folder is None or not path.is_file():
            return None
        try:
            return Manifest(folder / NAME).training(path)
        except ArtifactError:
            return None

    def figures(self, name: str) -> dict[str, bytes]:
        """Return the PNGs in the folder `name` by file name without suffix, in alphabetical order."""
        paths = sorted((self.path / name).glob("*.png"))
        return {path.stem: AtomicFigure(filepath=str(path)).load() for path in paths}


class ResultsDataset(StoreDataset[Results]):
    """The results in the folder `filepath`, for nodes that read files which only some runs write.

    A result that the same pipeline makes is read as its own catalog entry instead, so that Kedro makes it first.
    """

    def load(self) -> Results:
        """Return the folder's results; nothing is read yet."""
        return Results(self._filepath)
