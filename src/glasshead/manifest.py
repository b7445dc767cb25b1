"""The manifest of a classifier's artefacts: a file that lists each with its hash and the training it comes from.

A training has one id, the digest of its weights, data and settings (see `Classifier.training_id`). The manifest gives
this id for everything made from the training, so that two trainings differ even if all their numbers are equal.
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
    """The SHA-256 of an artefact's file, and the id of its training; None for data from before the training."""

    sha256: str
    training: str | None


class Manifest:
    """The JSON file `path` that lists the artefacts of one classifier."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> dict[str, Entry]:
        """Return the entries by artefact, none if no run has written the file. ArtifactError if it is damaged."""
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
        """List the file or Classifier `artefact` as made from `training`; the manifest is replaced atomically."""
        entries = self.entries() | {
            self._key(artefact): Entry(sha256=digest_of(artefact), training=training)
        }
        text = json.dumps(entries, indent=2, sort_keys=True)
        with write_atomically(self.path) as temporary:
            temporary.write_text(f"{text}\n")

    def training(self, artefact: Path) -> str | None:
        """Return the training that `artefact` comes from.

        Raises ArtifactError if it is not the listed file: it is of another run, a copy, or damaged.
        """
        entry = self.entries().get(self._key(artefact))
        if entry is None or entry["sha256"] != digest_of(artefact):
            raise ArtifactError(
                f"{artefact} is not the file that the last run of {self.path.parent.name} wrote, according to "
                f"{self.path}. Run the pipeline that makes it again."
            )
        return entry["training"]

    def _key(self, artefact: Path) -> str:
        """Return an artefact's path relative to the manifest's folder, so that both can be moved together."""
        return Path(os.path.relpath(artefact, self.path.parent)).as_posix()


def digest_of(artefact: Path) -> str:
    """Return the SHA-256 of a file, or of `classifier.json` in a Classifier's folder, which holds the weights' hash."""
    file = artefact / "classifier.json" if artefact.is_dir() else artefact
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def require_same_training(trainings: Mapping[str, str | None], pipeline: str) -> str | None:
    """Return the training that all artefacts come from; `trainings` are by name, None for data from before a training.

    Raises ArtifactError if two differ; the message names both and the `pipeline` to run.
    """
    known = {name: training for name, training in trainings.items() if training is not None}
    first = next(iter(known), None)
    for name, training in known.items():
        if first is not None and training != known[first]:
            raise ArtifactError(
                f"{name} and {first} come from different trainings. Run the pipeline {pipeline} again, starting with "
                "its training."
            )
    return None if first is None else known[first]


def has_training(artefact: Any) -> bool:
    """Return whether `artefact` is a Classifier in memory, which knows its own training."""
    return hasattr(artefact, "training_id")
