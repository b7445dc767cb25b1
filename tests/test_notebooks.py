"""Notebooks and their scripts are one; the corridor's tests execute them."""

import re
from pathlib import Path

import jupytext
import nbformat
import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "notebooks").glob("*.py"))
CORRIDORS = ("test_corridor.py", "test_risk_corridor.py", "test_transfer_corridor.py")
each_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)


def test_every_notebook_is_executed() -> None:
    text = "".join((ROOT / "tests" / name).read_text() for name in CORRIDORS)
    assert {path.stem for path in SCRIPTS} == set(re.findall(r'"(\d_\w+)"', text))
    assert {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} == {
        path.stem for path in SCRIPTS
    }


@each_script
def test_a_notebook_has_the_cells_of_its_script_and_no_outputs(script: Path) -> None:
    notebook = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    paired = jupytext.read(script)
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (cell.cell_type, cell.source) for cell in paired.cells
    ]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)


@each_script
def test_each_asserts_something(script: Path) -> None:
    assert re.search(r"^ *assert ", script.read_text(), re.MULTILINE)
