"""Write the results of benchmarks: benchmarks/results/<name>.json, and docs/benchmarks.md from all of them."""

import json
from pathlib import Path
from typing import TypedDict

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"

HEAD = """# Benchmarks

Written by `make bench` (`make bench ONLY=<name>` for one) from `benchmarks/results/`. Ours and what a user would pick
instead alternate in one run; the ratio is the median over the rounds. Above 1, ours is better.
"""
COLUMNS = (
    "| case | ours | peer | ratio | unit | device | note |\n|---|---:|---:|---:|---|---|---|\n"
)
NO_GPU = "\nNot yet measured on a GPU: {}.\n"


class Result(TypedDict):
    """One row: `ratio` is how many times better ours is."""

    case: str
    ours: float
    peer: float
    ratio: float
    unit: str
    device: str
    note: str


def write_results(name: str, results: list[Result]) -> None:
    """Replace the results of benchmark `name` and write the page again."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=2) + "\n")
    write_page()


def write_page() -> None:
    """Write docs/benchmarks.md."""
    parts = [HEAD]
    for path in sorted(RESULTS.glob("*.json")):
        results: list[Result] = json.loads(path.read_text())
        rows = ["| " + " | ".join(_cell(value) for value in row.values()) + " |" for row in results]
        parts.append(f"## {path.stem}\n\n{COLUMNS}" + "\n".join(rows) + "\n")
        measured = {row["case"] for row in results if row["device"].startswith("cuda")}
        if absent := sorted({row["case"] for row in results} - measured):
            parts[-1] += NO_GPU.format(", ".join(absent))
    PAGE.write_text("\n".join(parts))


def _cell(value: float | str) -> str:
    return (
        f"{value:,.3g}"
        if isinstance(value, float) and abs(value) < 100
        else f"{value:,}"
        if isinstance(value, float)
        else value
    )


if __name__ == "__main__":
    write_page()
