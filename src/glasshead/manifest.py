"""The manifest of a classifier's artefacts: a file with each artefact's hash and the training it was made from.

A training is identified by the digest of its weights, data and settings (see `Classifier.training_id`). The manifest
records this id for everything made from the training, so two trainings differ even if all their metrics are equal.
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
    """The SHA-256 of an artefact's file and the id of the training it was made from; None if no training made it."""

    sha256: str
    training: str | None


class Manifest:
    """The JSON file `path` that lists the artefacts of one classifier."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> dict[str, Entry]:
        """Return the entries by artefact; none if no run has written a manifest. ArtifactError if it is damaged."""
        try:
            entries: dict[str, Entry] = json.loads(self.path.read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise ArtifactError(
                f"{self.path} is damaged ({error}). Delete it and run the classifier's pipeline, such as `kedro run "
                "--pipelines=heads`."
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
        """Return the id of the training that `artefact` was made from.

        Raises ArtifactError if the file's hash is not the listed one: it comes from another run, or is damaged.
        """
        entry = self.entries().get(self._key(artefact))
        if entry is None or entry["sha256"] != digest_of(artefact):
            raise ArtifactError(
                f"{artefact} is not the file that the last run of {self.path.parent.name} wrote: {self.path} lists "
                "another hash or none. Run the pipeline that makes this file again."
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
    """Return the id of the training that all artefacts were made from; None if no training made any of them.

    `trainings` maps an artefact's name to the id of its training, or to None. Raises ArtifactError if two ids differ;
    the message names both artefacts and the `pipeline` to run.
    """
    known = {name: training for name, training in trainings.items() if training is not None}
    first = next(iter(known), None)
    for name, training in known.items():
        if first is not None and training != known[first]:
            raise ArtifactError(
                f"{name} and {first} come from different trainings. Run `kedro run --pipelines={pipeline}`, which "
                "trains again and makes all artefacts again."
            )
    return None if first is None else known[first]


def has_training(artefact: Any) -> bool:
    """Return whether `artefact` is a Classifier in memory, which knows its own training."""
    return hasattr(artefact, "training_id")
