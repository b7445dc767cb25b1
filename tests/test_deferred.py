"""Functions that are imported when they are called."""

import inspect
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import pytest
from kedro.pipeline import Node

from glasshead.deferred import Deferred, deferred

HEAVY = ("torch", "torchvision", "transformers", "pandas", "scipy", "sklearn", "matplotlib")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield the name of a module with a function, which nothing has imported."""
    name = "heavy_and_unused"
    (tmp_path / f"{name}.py").write_text("def double(number: int) -> int:\n    return 2 * number\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_the_registry_knows_all_pipelines_without_what_they_compute_with() -> None:
    script = f"""
        import sys
        from glasshead.pipeline_registry import register_pipelines
        assert len(register_pipelines()) > 40
        print([name for name in {HEAVY} if name in sys.modules])
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    assert subprocess.check_output(command, text=True) == "[]\n"


def test_a_node_of_it_imports_the_module_when_it_runs(module: str) -> None:
    node = Node(Deferred(module, "double"), "number", "result", name="double")
    assert module not in sys.modules
    assert node.run({"number": 21}) == {"result": 42}
    assert module in sys.modules


def test_unwrapped_it_has_the_signature_the_hints_and_the_source_of_the_function(
    module: str,
) -> None:
    function = Deferred(module, "double")
    assert list(inspect.signature(function).parameters) == ["number"]
    assert get_type_hints(function) == {"number": int, "return": int}
    assert inspect.getsource(inspect.unwrap(function)).startswith("def double")


def test_only_imports_of_names_in_the_importing_module_are_deferred(module: str) -> None:
    namespace = {"__name__": "importer", "deferred": deferred}
    exec(f"with deferred(__name__):\n    from {module} import double\n    import json", namespace)
    assert isinstance(namespace["double"], Deferred)
    assert namespace["json"] is sys.modules["json"]
    with deferred("importer"):
        from json import loads  # by this module, which is another one
    assert not isinstance(loads, Deferred)
    assert module not in sys.modules


def test_the_import_statement_is_as_before_after_an_error() -> None:
    before = __import__
    with pytest.raises(ZeroDivisionError), deferred("importer"):
        raise ZeroDivisionError
    assert __import__ is before
