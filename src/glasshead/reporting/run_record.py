"""How results came about, from the record that runs keep of their nodes."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pandas as pd

from glasshead import __version__

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
    """What it takes to get the results again.

    nodes: node, seconds, device, commit and command of each that has run, slowest first.
    commands: lines for a shell, from the commit to what was run.
    dirty: whether files differed from the commit.
    """

    nodes: pd.DataFrame
    commands: list[str]
    dirty: bool
    versions: dict[str, str]


def reproduction(name: str, record: Mapping[str, Mapping[str, Any]]) -> Reproduction:
    """Return what `record` says of the nodes of the classifier `name` and of those that all classifiers share."""
    rows = [
        {"node": node, **found}
        for node, found in record.items()
        if "." not in node or node.startswith(f"{name}.")
    ]
    nodes = pd.DataFrame(
        rows, columns=["node", "seconds", "device", "commit", "command", "changed"]
    )
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


def training_time(name: str, nodes: pd.DataFrame) -> str | None:
    """Return "<seconds> s on <device>" of the classifier's own training, None where it is not on record."""
    fits = nodes[nodes["node"].str.startswith((f"{name}.fit_", f"{name}.average_"))]
    fits = fits[~fits["node"].str.endswith("temperatures")]
    if fits.empty:
        return None
    return f"{fits['seconds'].sum():.1f} s on {', '.join(fits['device'].unique())}"
