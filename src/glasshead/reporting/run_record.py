"""How to reproduce results, from the run record, which runs keep of their nodes."""

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pandas as pd

from glasshead import __version__

RECORD = "run_record"  # name of the dataset
PACKAGES = (
    "torch",
    "torchvision",
    "transformers",
    "kedro",
    "captum",
    "shap",
    "scikit-learn",
    "numpy",
    "pandas",
    "pillow",
)
SET_UP = "python3 -m venv .venv && .venv/bin/pip install --constraint constraints.txt --editable ."


@dataclass(frozen=True)
class Reproduction:
    """How to reproduce the results of a classifier.

    nodes: node, seconds, device, commit and command of each node that ran, slowest first.
    commands: shell lines that check out the commit, install it and run it.
    dirty: whether files differed from the commit.
    """

    nodes: pd.DataFrame
    commands: list[str]
    dirty: bool
    versions: dict[str, str]


def reproduction(name: str, record: Mapping[str, Mapping[str, Any]]) -> Reproduction:
    """Return how to reproduce the classifier `name`, from the entries of `record` on the nodes behind its results."""
    behind = sorted(
        _behind(name, record), key=lambda node: (node.startswith(f"{name}."), node)
    )  # data stages first
    rows = [{"node": node, **record[node]} for node in behind]
    columns = ["node", "seconds", "device", "commit", "command", "changed"]
    nodes = pd.DataFrame(rows, columns=columns)
    commits = nodes["commit"].dropna().unique().tolist()
    runs = [f".venv/bin/{command}" for command in nodes["command"].unique()]
    check_out = [f"git checkout {commit}" for commit in commits]
    return Reproduction(
        nodes.drop(columns="changed").sort_values("seconds", ascending=False, ignore_index=True),
        [*check_out, SET_UP, *runs],
        bool(nodes["changed"].any()),
        {"glasshead": __version__, "python": platform.python_version()}
        | {package: version(package) for package in PACKAGES},
    )


def _behind(name: str, record: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the classifier's nodes and all nodes that they depend on.

    Nodes that read the record, and nodes without outputs, are left out: when a report is written, their entries still
    describe an earlier run.
    """
    makers = {output: node for node, entry in record.items() for output in entry["outputs"]}
    behind = {
        node
        for node, entry in record.items()
        if node.startswith(f"{name}.") and entry["outputs"] and RECORD not in entry["inputs"]
    }
    wanted = list(behind)
    while wanted:
        inputs = record[wanted.pop()]["inputs"]
        new = {makers[name] for name in inputs if name in makers} - behind
        behind |= new
        wanted += new
    return behind


def training_time(name: str, nodes: pd.DataFrame) -> str | None:
    """Return "<seconds> s on <device>" for the classifier's own training; None if it is not recorded."""
    fit = rf"{re.escape(name)}\.(train\.)?(fit|average)_(?!temperatures|threshold)"
    fits = nodes[[re.match(fit, node) is not None for node in nodes["node"]]]
    if fits.empty:
        return None
    return f"{fits['seconds'].sum():.1f} s on {', '.join(fits['device'].unique())}"
