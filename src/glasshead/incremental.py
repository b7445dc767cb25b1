"""A runner that computes only the nodes whose inputs, parameters or code have changed since they last ran.

Files are compared by content, as DVC and Bazel do, not by date as make does: a node that is computed again and writes
the same bytes changes nothing for the nodes after it.
"""

import hashlib
import json
import logging
import os
import platform
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import requires, version
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

from huggingface_hub.constants import HF_HUB_CACHE
from kedro.io import CatalogProtocol, DatasetError
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import SequentialRunner
from kedro.runner.task import Task
from pluggy import PluginManager
from pydantic import BaseModel

from glasshead.datasets.paths import StoreDataset
from glasshead.errors import ArtifactError, EmbeddingError
from glasshead.reporting.run_record import RECORD

logger = logging.getLogger(__name__)

PACKAGE = "glasshead"
NEW = "no earlier results are known"
CODE = "code"  # the name under which an identity holds the version of the code


class IncrementalRunner(SequentialRunner):
    """Kedro's SequentialRunner, which leaves out nodes that have nothing new to compute; see `Identities`.

    For each of these, it calls the hook `after_node_kept(node, catalog)` instead of those around a node. The parameter
    `fresh` makes it compute every node.
    """

    def __str__(self) -> str:
        """Kedro-Viz draws the progress of runs whose runner reads as a SequentialRunner."""
        return object.__repr__(SequentialRunner())

    def _run(
        self,
        pipeline: Pipeline,
        catalog: CatalogProtocol[Any, Any],
        hook_manager: PluginManager | None = None,
        run_id: str | None = None,
    ) -> None:
        identities = Identities(catalog)
        load_counts = Counter(chain.from_iterable(node.inputs for node in pipeline.nodes))
        # No hook of Kedro's: hooks that implement it are told of a node that is left out.
        hooks = getattr(hook_manager, "hook", None)
        after_node_kept = getattr(hooks, "after_node_kept", lambda **given: None)
        done: list[Node] = []
        kept = 0
        for node in pipeline.nodes:
            try:
                if change := identities.change(node):
                    level = logging.DEBUG if change == NEW else logging.INFO
                    logger.log(level, "%s is computed: %s", node.name, change)
                    Task(node, catalog, self._is_async, hook_manager, run_id).execute()
                    identities.record(node)
                    logger.info("Completed %d of %d nodes", len(done) + 1, len(pipeline.nodes))
                else:
                    logger.info("%s is unchanged: its results are kept", node.name)
                    after_node_kept(node=node, catalog=catalog)
                    kept += 1
            except Exception as error:
                if isinstance(error, ArtifactError | EmbeddingError):
                    identities.forget_makers(node)
                self._suggest_resume_scenario(pipeline, done, catalog)
                raise
            done.append(node)
            self._release_datasets(node, catalog, load_counts, pipeline)
        if kept:
            logger.info(
                "%d of %d nodes are unchanged since an earlier run, and their results are kept. "
                "--params=fresh=true computes all of them again.",
                kept,
                len(pipeline.nodes),
            )


class Identities:
    """What the results of nodes depend on, kept in the run record by digests.

    A node's results depend on its input files, its parameters, the seed, local files and folders that a parameter
    names, the version of the code and the versions of the libraries. A node has no identity, and is always computed, if
    it reads or writes what has no digest: data in memory, a store, or a remote address.
    """

    def __init__(self, catalog: CatalogProtocol[Any, Any]) -> None:
        self._catalog = catalog
        self._before: dict[str, dict[str, str] | None] = {}
        fresh = catalog.get("params:fresh")
        self._is_fresh = fresh is not None and fresh.load() is True

    def change(self, node: Node) -> str | None:
        """Return why the node must be computed, as text for the log; None if its last results still hold."""
        self._before[node.name] = identity = self._identity(node)
        entry = self._load_record().get(node.name, {})
        known: dict[str, str] = entry.get("identity", {})
        if self._is_fresh:
            return "the parameter fresh is set"
        if identity is None:
            return "it reads or writes what has no digest"
        if not known:
            return NEW
        if changed := [name for name in identity | known if identity.get(name) != known.get(name)]:
            return f"{', '.join(changed)} changed"
        if lost := [name for name, parts in entry["parts"].items() if not self._has(name, parts)]:
            return f"parts of {', '.join(lost)} are missing"
        made: dict[str, str] = entry["made"]
        if wrong := [name for name in node.outputs if self._digest(name) != made.get(name)]:
            return f"{', '.join(wrong)} is not what this node wrote last"
        return None

    def record(self, node: Node) -> None:
        """Add the identity of a node that has just run, and the digests of its outputs, to its entry in the record."""
        identity, record = self._before.pop(node.name), self._load_record()
        if identity is None or node.name not in record:
            return
        parts = {name: sorted(self._parts(name) or ()) for name in node.inputs}
        record[node.name] |= {
            "identity": identity,
            "parts": {name: names for name, names in parts.items() if names},
            "made": {name: self._digest(name) for name in node.outputs},
        }
        self._save_record(record)

    def forget_makers(self, node: Node) -> None:
        """Forget the identities of the nodes that made the inputs of `node`, which found one of them damaged."""
        record = self._load_record()
        for entry in record.values():
            if {*entry["outputs"], *entry.get("parts", ())}.intersection(node.inputs):
                entry.pop("identity", None)
        self._save_record(record)

    def _save_record(self, record: dict[str, dict[str, Any]]) -> None:
        if dataset := self._catalog.get(RECORD):
            dataset.save(record)

    def _load_record(self) -> dict[str, dict[str, Any]]:
        dataset = self._catalog.get(RECORD)
        try:
            record: dict[str, dict[str, Any]] = dataset.load() if dataset else {}
        except DatasetError:  # missing or damaged
            return {}
        return record

    def _identity(self, node: Node) -> dict[str, str] | None:
        """Return the digest of each thing that the node's results depend on; None if one has no digest."""
        if any(self._path(name) is None for name in node.outputs):
            return None
        parts = {CODE: code_version(node), "params:seed": self._digest("params:seed")}
        for name in node.inputs:
            parts[name] = "parts" if self._parts(name) is not None else self._digest(name)
        known = {name: digest for name, digest in parts.items() if digest is not None}
        return known if len(known) == len(parts) else None

    def _parts(self, name: str) -> frozenset[str] | None:
        dataset = self._catalog.get(name)
        return dataset.parts() if isinstance(dataset, StoreDataset) else None

    def _has(self, name: str, parts: Iterable[str]) -> bool:
        return (self._parts(name) or frozenset()).issuperset(parts)

    def _path(self, name: str) -> Path | None:
        """Return the file or folder of a dataset that is nothing but its files; None for other datasets."""
        dataset = self._catalog.get(name)
        path = getattr(dataset, "_filepath", None) or getattr(dataset, "_path", None)
        return None if path is None or isinstance(dataset, StoreDataset) else Path(path)

    def _digest(self, name: str) -> str | None:
        if name.startswith("params:"):
            dataset = self._catalog.get(name)
            return parameter_digest(dataset.load()) if dataset else None
        path = self._path(name)
        return path_digest(path) if path and path.exists() else None


def parameter_digest(value: object) -> str | None:
    """Return the digest of a parameter and of the states of the files that it names.

    It is None if the parameter names a remote address, or files whose state cannot be read.
    """
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    named = [text for text in _texts(plain) if text]
    if any("://" in text for text in named):
        return None
    try:
        stamps = [list(_file_stamps(place)) for text in named for place in _places(text)]
    except OSError:
        return None
    return _sha256(json.dumps([plain, stamps], sort_keys=True))


def path_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, or of the names and contents of all files in a folder."""
    if not path.is_dir():
        status = path.stat()
        return _file_digest(path, status.st_ino, status.st_size, status.st_mtime_ns)
    files = sorted(file for file in path.rglob("*") if file.is_file() and _is_source(file))
    return _sha256("\n".join(f"{file.relative_to(path)} {path_digest(file)}" for file in files))


def code_version(node: Node) -> str | None:
    """Return the digest of this package, of the package of the node's function, and of the libraries' versions.

    It is None for a function that lies in no package, as in a notebook.
    """
    module = getattr(node.func, "__module__", None) or ""
    return _package_version(module.partition(".")[0])


@cache
def _package_version(package: str) -> str | None:
    spec = find_spec(package) if package and package != "__main__" else None
    if spec is None or not spec.submodule_search_locations:
        return None
    required = [line for line in requires(PACKAGE) or () if "extra ==" not in line]
    names = [re.split(r"[^\w.-]", line)[0] for line in required]
    libraries = [platform.python_version(), *(f"{name} {version(name)}" for name in sorted(names))]
    folders = {Path(folder) for folder in spec.submodule_search_locations}
    sources = sorted(path_digest(folder) for folder in folders | {Path(__file__).parent})
    return _sha256("\n".join([*libraries, *sources]))


@cache
def _file_digest(path: Path, inode: int, size: int, modified: int) -> str:
    """Return the SHA-256 of a file, which is read again once its inode, size or time of change differ."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _is_source(file: Path) -> bool:
    return "__pycache__" not in file.parts


def _texts(plain: object) -> Iterator[str]:
    if isinstance(plain, str):
        yield plain
    elif isinstance(plain, Mapping):
        yield from chain.from_iterable(map(_texts, plain.values()))
    elif isinstance(plain, list | tuple):
        yield from chain.from_iterable(map(_texts, plain))


def _places(text: str) -> Iterator[Path]:
    """Yield the existing local places that a parameter's text may name: a path, or a Hugging Face id in the cache."""
    path = os.path.expanduser(text)  # noqa: PTH111  # Path raises an error where there is no such user
    if os.path.exists(path):  # noqa: PTH110  # Path raises an error for text that is too long for a path
        yield Path(path)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", text):
        for kind in ("models", "datasets"):
            refs = Path(HF_HUB_CACHE, f"{kind}--{text.replace('/', '--')}", "refs")
            if refs.is_dir():
                yield refs


def _file_stamps(
    place: Path, above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[tuple[str, int, int]]:
    """Yield name, size and time of change of a file, or of each file in a folder that is not among those `above` it."""
    status = place.stat()
    if not place.is_dir():
        yield place.name, status.st_size, status.st_mtime_ns
        return
    here = status.st_dev, status.st_ino
    if here in above:  # a symbolic link that leads back
        return
    for entry in sorted(os.scandir(place), key=lambda entry: entry.name):
        if entry.is_dir():
            for name, size, modified in _file_stamps(Path(entry.path), above | {here}):
                yield f"{entry.name}/{name}", size, modified
        elif entry.is_file():
            status = entry.stat()
            yield entry.name, status.st_size, status.st_mtime_ns
