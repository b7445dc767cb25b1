"""Write the results of benchmarks: benchmarks/results/<name>.json, and docs/benchmarks.md from all of them.

A section of the page begins with what its script's docstring says.
"""

import ast
import json
from pathlib import Path
from typing import TypedDict

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"

HEAD = """# Benchmarks

Written by `make bench` (`make bench ONLY=<name>` for one) from `benchmarks/results/`. Ours and its peer run in turn;
the ratio, the median over the rounds, says how many times better ours is. Mostly the peer is what a user would pick
instead. Where it is a limit, or ours in another setting, the section says so, and a ratio below 1 is no loss.
"""
COLUMNS = (
    "| case | ours | peer | ratio | unit | device | note |\n|---|---:|---:|---:|---|---|---|\n"
)


class Result(TypedDict):
    """One row: `ratio` is how many times better ours is; None in a row that waits for its device."""

    case: str
    ours: float | None
    peer: float | None
    ratio: float | None
    unit: str
    device: str
    note: str


def pending(case: str, unit: str) -> Result:
    """Return the row of a case that wants a GPU, on a machine without one."""
    return {
        "case": case,
        "ours": None,
        "peer": None,
        "ratio": None,
        "unit": unit,
        "device": "cuda",
        "note": "not yet measured",
    }


def write_results(name: str, results: list[Result]) -> None:
    """Replace the results of benchmark `name` and write the page again; a measured row outlives a pending one."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    old: list[Result] = json.loads(path.read_text()) if path.is_file() else []
    measured = {row["case"]: row for row in old if row["ours"] is not None}
    rows = [row if row["ours"] is not None else measured.get(row["case"], row) for row in results]
    path.write_text(json.dumps(rows, indent=2) + "\n")
    write_page()


def write_page() -> None:
    """Write docs/benchmarks.md."""
    PAGE.write_text(make_page())


def make_page() -> str:
    """Return what docs/benchmarks.md says of all results."""
    return "\n".join([HEAD, *map(_section, sorted(RESULTS.glob("*.json")))])


def _section(path: Path) -> str:
    script = ROOT / "benchmarks" / f"{path.stem}.py"
    about = ast.get_docstring(ast.parse(script.read_text()))
    results: list[Result] = json.loads(path.read_text())
    if all(row["ours"] is None for row in results):
        cases = ", ".join(f"`{row['case']}`" for row in results)
        body = f"Not yet measured, as it wants a GPU: {cases}."
    else:
        rows = ["| " + " | ".join(_cell(value) for value in row.values()) + " |" for row in results]
        body = COLUMNS + "\n".join(rows)
    return f"## {path.stem}\n\n{about}\n\n{body}\n"


def _cell(value: float | str | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


if __name__ == "__main__":
    write_page()
