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
        """Return the folder of the Classifier `name`, whether it is there or not."""
        return self.path / name / self.part

    def names(self) -> list[str]:
        """Return the names of those that are there, in alphabetical order."""
        folders = self.path.iterdir() if self.path.is_dir() else ()
        return sorted(
            folder.name
            for folder in folders
            if (self.folder(folder.name) / "classifier.json").is_file()
        )

    def load(self, name: str) -> Classifier:
        """Return the Classifier `name`, in evaluation mode; ArtifactError if there is none or it is damaged."""
        if name not in self.names():
            there = f"there are: {', '.join(self.names())}" if self.names() else "there is none yet"
            raise ArtifactError(
                f"There is no Classifier {name!r} in {self.path}; {there}. Run the pipeline that trains it first."
            )
        return Classifier.load(self.folder(name))

    def save(self, name: str, classifier: Classifier) -> None:
        """Put `classifier` in the place of `name`, whole or not at all; ArtifactError where the disk refuses."""
        with replace_folder(self.folder(name)) as temporary:
            classifier.save(temporary)


class VariantStore(ClassifierStore):
    """The Classifiers of a comparison by variant, and word of each to whoever sets `observe`.

    Attributes:
        observe: called with a variant's name, its new results by name, and whether it has all of them.
    """

    observe: Callable[[str, Mapping[str, Any], bool], None]

    def __init__(self, path: Path, part: str = "") -> None:
        super().__init__(path, part)
        self.observe = lambda variant, results, finished: None

    def note(self, variant: str, *, finished: bool = False, **results: Any) -> None:
        """Tell the observer of new results; the first note of a variant, which may have none, says that it began."""
        self.observe(variant, results, finished)
