"""Base classes of this package's Kedro datasets, each of which lies at one path."""

from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from kedro.io import AbstractDataset, DatasetError

from glasshead.files import replace_folder

Saved = TypeVar("Saved")
Loaded = TypeVar("Loaded")


class PathDataset(AbstractDataset[Saved, Loaded], Generic[Saved, Loaded]):
    """A dataset in the file or folder `filepath`; `metadata` is for plugins such as Kedro-Viz."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def _exists(self) -> bool:
        return self._filepath.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}


class ModelDataset(PathDataset[Any, Loaded], Generic[Loaded]):
    """A model that writes its own files with `save(folder)`; its folder is replaced as a whole."""

    def save(self, data: Any) -> None:
        """Write all files to a new folder, then swap it for the old one."""
        with replace_folder(self._filepath) as temporary:
            data.save(temporary)


class StoreDataset(PathDataset[Any, Loaded], Generic[Loaded]):
    """A folder whose files are written one by one, through the object that loading returns.

    Loading neither reads nor creates anything.
    """

    def parts(self) -> frozenset[str] | None:
        """Return the names of the parts that results rest on, which must stay for the results to hold.

        It is None if results depend on whatever the store holds, so that nodes that read it are computed in every run.
        """
        return None

    def save(self, data: Any) -> NoReturn:
        """Raise DatasetError: nodes write through the loaded object."""
        raise DatasetError(
            f"The files in {self._filepath} are written one by one, through the loaded object, not saved."
        )
