"""Check that results belong together: artefacts carry the id of their training, and no node mixes two trainings."""

import threading
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline.node import Node

from glasshead.hooks.routes import path_of
from glasshead.manifest import Manifest, has_training, require_same_training

MANIFEST = "artefacts"  # name of the dataset; each classifier has one


class IdentityHooks:
    """Keep the manifest of each classifier, if the catalog has one; a classifier is the namespace of its datasets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Training ids: of datasets that this run has made or read, and of the outputs of the node that is running.
        self._trainings: dict[str, str | None] = {}
        self._made: dict[str, str | None] = {}

    @hook_impl
    def before_pipeline_run(self, catalog: DataCatalog) -> None:
        """Forget the datasets of an earlier run in this process."""
        self._catalog = catalog
        self._trainings.clear()

    @hook_impl
    def before_node_run(self, node: Node, catalog: DataCatalog) -> None:
        """Raise ArtifactError if the node reads artefacts of two trainings, or a file that was replaced by hand."""
        read = {name: self._training(name) for name in node.inputs if self._manifest(name)}
        self._made[node.name] = require_same_training(read, _classifier(node.outputs or [*read]))

    @hook_impl
    def after_node_run(self, node: Node, outputs: dict[str, Any]) -> None:
        """Note the training id of the outputs: that of the inputs, or of a classifier just trained by the node."""
        own = [made.training_id() for made in outputs.values() if has_training(made)]
        training = self._made.pop(node.name) or next(iter(own), None)
        self._trainings |= dict.fromkeys(outputs, training)

    @hook_impl
    def after_node_kept(self, node: Node, catalog: DataCatalog) -> None:
        """Give results that an unchanged node keeps the training id of its inputs.

        A new training can leave an input as it was, to the byte; what an earlier one made of it then holds for both.
        """
        self.before_node_run(node, catalog)
        training = self._made.pop(node.name)
        for name in node.outputs if training else []:
            manifest, path = self._manifest(name), self._path(name)
            if manifest and path and self._training(name) != training:
                manifest.add(path, training)
                self._trainings[name] = training

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        """Write the artefact's SHA-256 and training id into the manifest."""
        manifest, path = self._manifest(dataset_name), self._path(dataset_name)
        if manifest and path and path.exists():
            with self._lock:
                manifest.add(path, self._trainings.get(dataset_name))

    def _training(self, name: str) -> str | None:
        """Return the training id of a dataset; None if it precedes any training, as the rows of a fit do."""
        path = self._path(name)
        if (
            name not in self._trainings
            and path
            and (path.is_file() or (path / "classifier.json").is_file())
        ):
            manifest = self._manifest(name)
            assert manifest is not None
            self._trainings[name] = manifest.training(path)
        return self._trainings.get(name)

    def _manifest(self, name: str) -> Manifest | None:
        """Return the manifest of the classifier that a dataset belongs to; None if it belongs to none."""
        if "." not in name or name.startswith("params:"):
            return None
        own = f"{_classifier([name])}.{MANIFEST}"
        path = self._path(own)
        return Manifest(path) if path and name != own else None

    def _path(self, name: str) -> Path | None:
        return path_of(self._catalog, name)


def _classifier(names: list[str]) -> str:
    return next((name.rsplit(".", 1)[0] for name in names if "." in name), "")
