"""Kedro datasets for Classifiers: one in a folder, replaced as a whole, or several by name."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from glasshead.errors import ArtifactError
from glasshead.files import replace_folder

if TYPE_CHECKING:  # torch takes seconds to import
    from glasshead.models.classifier import Classifier
    from glasshead.models.store import ClassifierStore, VariantStore


class ClassifierDataset(AbstractDataset["Classifier", "Classifier"]):
    """A Classifier in the folder `filepath`; raises ArtifactError where it is missing or damaged."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def save(self, data: "Classifier") -> None:
        """Write all of the Classifier's files to a new folder, then swap it for the old one."""
        with replace_folder(self._filepath) as temporary:
            data.save(temporary)

    def load(self) -> "Classifier":
        """Return the Classifier, in evaluation mode."""
        from glasshead.models.classifier import Classifier

        if not self._exists():
            raise ArtifactError(
                f"There is no Classifier in {self._filepath}. Run the pipeline that trains it."
            )
        return Classifier.load(self._filepath)

    def _exists(self) -> bool:
        return (self._filepath / "classifier.json").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}


class ClassifierStoreDataset(AbstractDataset[Any, "ClassifierStore"]):
    """Hands out the Classifiers under the folder `filepath` by name, each in the folder `part` of its own."""

    def __init__(
        self, *, filepath: str, part: str = "", metadata: dict[str, Any] | None = None
    ) -> None:
        self._filepath = Path(filepath)
        self._part = part
        self.metadata = metadata

    def load(self) -> "ClassifierStore":
        """Return the store; no Classifier is read yet."""
        from glasshead.models.store import ClassifierStore

        return ClassifierStore(self._filepath, self._part)

    def save(self, data: Any) -> NoReturn:
        """Raise DatasetError: Classifiers are put into a store one by one."""
        raise DatasetError(f"The Classifiers in {self._filepath} are saved one by one.")

    def _exists(self) -> bool:
        return self._filepath.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "part": self._part}


class VariantStoreDataset(ClassifierStoreDataset):
    """Hands out the Classifiers of a comparison, whose store tells of each variant as it is made."""

    def load(self) -> "VariantStore":
        """Return the store; no Classifier is read yet."""
        from glasshead.models.store import VariantStore

        return VariantStore(self._filepath, self._part)
