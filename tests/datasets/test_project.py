"""The catalog of the project around a folder."""

from pathlib import Path

import pytest

from glasshead.datasets.project import open_project
from glasshead.errors import ParameterError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pyproject.toml").write_text("[tool.kedro]\n")
    for folder in ("conf/base", "conf/local", "notebooks"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "conf/base/catalog.yml").write_text(
        '"{name}.metrics":\n'
        "  type: glasshead.datasets.atomic.AtomicJSON\n"
        "  filepath: data/{name}.json\n"
    )
    monkeypatch.chdir(tmp_path / "notebooks")
    return tmp_path


def test_paths_start_at_the_root_wherever_it_is_opened(project: Path) -> None:
    catalog = open_project()
    catalog.save("heads.metrics", {"accuracy": 1})
    assert (project / "data" / "heads.json").is_file()
    assert Path.cwd() == project
    assert open_project(project / "conf").load("heads.metrics") == {"accuracy": 1}


def test_a_folder_outside_of_any_project_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="is not inside a clone"):
        open_project(tmp_path)
