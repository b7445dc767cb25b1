"""Classifiers by name, each in a folder of its own."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from glasshead.errors import ArtifactError
from glasshead.files import replace_folder
from glasshead.models.classifier import Classifier


class ClassifierStore:
    """The Classifiers under `path`: the one called `name` lies in `path/name/part`."""

    def __init__(self, path: Path, part: str = "") -> None:
        self.path = path
        self.part = part

    def folder(self, name: str) -> Path:
        """Return the folder of the Classifier `name`, which may not exist."""
        return self.path / name / self.part

    def names(self) -> list[str]:
        """Return the names of existing Classifiers, in alphabetical order."""
        folders = self.path.iterdir() if self.path.is_dir() else ()
        return sorted(
            folder.name
            for folder in folders
            if (self.folder(folder.name) / "classifier.json").is_file()
        )

    def load(self, name: str) -> Classifier:
        """Return the Classifier `name`, in evaluation mode; ArtifactError if there is none or it is damaged."""
        if name not in self.names():
            raise ArtifactError(
                f"There is no Classifier {name!r} in {self.path}, which holds {', '.join(self.names()) or 'none yet'}. "
                "Run the pipeline that trains it first."
            )
        return Classifier.load(self.folder(name))

    def save(self, name: str, classifier: Classifier) -> None:
        """Save `classifier` as `name`, completely or not at all; ArtifactError if it cannot be written."""
        with replace_folder(self.folder(name)) as temporary:
            classifier.save(temporary)


class VariantStore(ClassifierStore):
    """The Classifiers of a comparison by variant; the store reports each variant's results to an observer.

    Attributes:
        observe: called with a variant's name, its new results by name, and whether it has all of them.
    """

    observe: Callable[[str, Mapping[str, Any], bool], None]

    def __init__(self, path: Path, part: str = "") -> None:
        super().__init__(path, part)
        self.observe = lambda variant, results, finished: None

    def note(self, variant: str, *, finished: bool = False, **results: Any) -> None:
        """Report new results to the observer; the first report of a variant marks its start and may be empty."""
        self.observe(variant, results, finished)
