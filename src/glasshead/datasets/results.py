"""The Kedro dataset of a folder of results, of which some runs leave more than others."""

from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from glasshead.datasets.atomic import AtomicFigure, AtomicFile, AtomicJSON, AtomicTable
from glasshead.errors import ArtifactError
from glasshead.manifest import NAME, Manifest

FORMATS: dict[str, type[AtomicFile[Any, Any]]] = {
    ".csv": AtomicTable,
    ".json": AtomicJSON,
    ".png": AtomicFigure,
}


class Results:
    """The results under `path`, read one by one by their place in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The folder's own name: the classifier's, where it is one's."""
        return self.path.name

    def load(self, name: str) -> Any | None:
        """Return what lies at `place`, such as "risk/findings.json", or None where no run has left it yet.

        Raises DatasetError, by way of ArtifactError, on a damaged file.
        """
        path = self.path / name
        return FORMATS[path.suffix](filepath=str(path)).load() if path.is_file() else None

    def training(self, name: str) -> str | None:
        """Return the id of the training that the result at `place` is of; None where nothing says so."""
        path = self.path / name
        folder = next((parent for parent in path.parents if (parent / NAME).is_file()), None)
        if folder is None or not path.is_file():
            return None
        try:
            return Manifest(folder / NAME).training(path)
        except ArtifactError:
            return None

    def figures(self, name: str) -> dict[str, bytes]:
        """Return the PNGs in the folder `place` by name, in alphabetical order."""
        paths = sorted((self.path / name).glob("*.png"))
        return {path.stem: AtomicFigure(filepath=str(path)).load() for path in paths}


class ResultsDataset(AbstractDataset[Any, Results]):
    """Hands out the results in the folder `filepath`, for readers of what some runs leave there and others do not.

    What a pipeline itself makes is an entry of its own, which says that it comes first.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> Results:
        """Return the folder's results; nothing is read yet."""
        return Results(self._filepath)

    def save(self, data: Any) -> NoReturn:
        """Raise DatasetError: each result is saved by itself."""
        raise DatasetError(f"The results in {self._filepath} are saved one by one.")

    def _exists(self) -> bool:
        return self._filepath.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
