"""A static site of Kedro-Viz keeps nothing of the machine that built it."""

import json
from pathlib import Path

import pytest

from glasshead.reporting.site import clean_site

PAGE = """<head>
<link rel="shortcut icon" href="./favicon.ico" />
<link rel="preconnect" href="https://fonts.gstatic.com" crossorigin />
<link
href="https://fonts.googleapis.com/css2?family=Inter:wght@400;600&display=swap"
rel="stylesheet"
/>
<link rel="stylesheet" crossorigin href="./assets/index.css">
</head>"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    root, folder = tmp_path / "clone", tmp_path / "clone" / "build"
    (folder / "api" / "nodes").mkdir(parents=True)
    (folder / "index.html").write_text(PAGE)
    nodes = {
        "data": {"filepath": f"{root}/data/metrics.json", "preview": {"text": f"ü in {root}/data"}},
        "code": {"filepath": "clone/src/nodes.py", "parameters": {"n": 3}},
        "library": {"filepath": f"{tmp_path}/venv/library.py", "inputs": ["a", None]},
        "nothing": {"filepath": None},
    }
    for name, node in nodes.items():
        (folder / "api" / "nodes" / name).write_text(json.dumps(node))
    clean_site(folder, root)
    return folder


def test_paths_are_relative_to_the_project(site: Path) -> None:
    nodes = {path.name: json.loads(path.read_text()) for path in (site / "api/nodes").iterdir()}
    assert nodes == {
        "data": {"filepath": "data/metrics.json", "preview": {"text": "ü in data"}},
        "code": {"filepath": "src/nodes.py", "parameters": {"n": 3}},
        "library": {"filepath": "library.py", "inputs": ["a", None]},
        "nothing": {"filepath": None},
    }


def test_only_the_links_to_web_fonts_are_gone(site: Path) -> None:
    page = (site / "index.html").read_text()
    assert "https://" not in page
    assert page.count("<link") == 2
