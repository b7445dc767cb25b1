"""Which artefacts of a classifier belong together: a file that names each with its hash and its training.

A training has one id, the digest of its weights, data and settings (see `Classifier.training_id`). All that is made
from it carries that id here, so that two trainings are told apart even where all their numbers agree.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from glasshead.errors import ArtifactError
from glasshead.files import write_atomically

NAME = "artefacts.json"


class Entry(TypedDict):
    """What is known of an artefact: the SHA-256 of its file, and the id of its training, None if it precedes that."""

    sha256: str
    training: str | None


class Manifest:
    """The artefacts of one classifier, by file, in the JSON file `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> dict[str, Entry]:
        """Return what is known; nothing where no run has written it. Raises ArtifactError where it is damaged."""
        try:
            entries: dict[str, Entry] = json.loads(self.path.read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise ArtifactError(
                f"{self.path} is damaged ({error}). Delete it and run the classifier's pipeline again."
            ) from error
        return entries

    def add(self, artefact: Path, training: str | None) -> None:
        """Write down that the file or Classifier `artefact` is of `training`; whole or not at all."""
        entries = self.entries() | {
            self._key(artefact): Entry(sha256=digest_of(artefact), training=training)
        }
        text = json.dumps(entries, indent=2, sort_keys=True)
        with write_atomically(self.path) as temporary:
            temporary.write_text(f"{text}\n")

    def training(self, artefact: Path) -> str | None:
        """Return the training of the artefact that lies there.

        Raises ArtifactError where it is not the one that was written down: another run's, a copy, or damaged.
        """
        entry = self.entries().get(self._key(artefact))
        if entry is None or entry["sha256"] != digest_of(artefact):
            raise ArtifactError(
                f"{artefact} is not what the last run of {self.path.parent.name} left there, by {self.path}. Run the "
                "pipeline that makes it again."
            )
        return entry["training"]

    def _key(self, artefact: Path) -> str:
        """Return how the manifest calls an artefact: its path from the manifest's folder, wherever both are moved."""
        return Path(os.path.relpath(artefact, self.path.parent)).as_posix()


def digest_of(artefact: Path) -> str:
    """Return the SHA-256 of a file; of a Classifier's folder that of `classifier.json`, which has its weights' hash."""
    file = artefact / "classifier.json" if artefact.is_dir() else artefact
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def require_same_training(trainings: Mapping[str, str | None], pipeline: str) -> str | None:
    """Return the training that artefacts, by name, have in common; None stands for those that precede one.

    Raises ArtifactError, which names two that differ and the `pipeline` to run.
    """
    known = {name: training for name, training in trainings.items() if training is not None}
    first = next(iter(known), None)
    for name, training in known.items():
        if first is not None and training != known[first]:
            raise ArtifactError(
                f"{name} is of another training than {first}. Run the pipeline {pipeline} again from its training on."
            )
    return None if first is None else known[first]


def has_training(artefact: Any) -> bool:
    """Return whether an object in memory is a Classifier, which knows its own training."""
    return hasattr(artefact, "training_id")
