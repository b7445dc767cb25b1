"""The runner that computes what changed, on small graphs of counted functions."""

import logging
import os
import sys
from types import SimpleNamespace

import pytest
from kedro.framework.hooks.manager import _create_hook_manager, _register_hooks
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro_viz.integrations.kedro.hooks_utils import is_sequential_runner

from glasshead import incremental
from glasshead.datasets.atomic import AtomicJSON
from glasshead.datasets.embeddings import EmbeddingStoreDataset
from glasshead.datasets.models import CheckpointsDataset, ClassifierStoreDataset
from glasshead.errors import ArtifactError
from glasshead.hooks.record import RecordHooks
from glasshead.incremental import IncrementalRunner, parameter_digest, path_digest

calls: list[str] = []


def double(number, factor):
    calls.append("double")
    return number * factor


def parity(number):
    calls.append("parity")
    return number % 2


def add_up(*numbers):
    calls.append("add_up")
    return sum(numbers)


def refuse(number):
    calls.append("refuse")
    raise ArtifactError(f"{number} is damaged.")


def check(number):
    calls.append("check")


@pytest.fixture(autouse=True)
def no_calls():
    calls.clear()


@pytest.fixture
def project(tmp_path):
    """Return a catalog of JSON files, and a function that runs nodes on it and returns the functions called."""
    names = ("number", "doubled", "odd", "total", "run_record")
    catalog = DataCatalog({n: AtomicJSON(filepath=str(tmp_path / f"{n}.json")) for n in names})
    catalog["params:seed"] = MemoryDataset(0)
    catalog["params:factor"] = MemoryDataset(2)
    catalog["params:fresh"] = MemoryDataset(False)
    catalog["number"].save(3)
    hooks = RecordHooks()
    manager = _create_hook_manager()
    _register_hooks(manager, [hooks])

    def run(*nodes):
        calls.clear()
        hooks.before_pipeline_run({"project_path": tmp_path}, catalog)
        IncrementalRunner().run(Pipeline(nodes), catalog, manager)
        return list(calls)

    return SimpleNamespace(catalog=catalog, run=run, folder=tmp_path)


DOUBLE = Node(double, ["number", "params:factor"], "doubled", name="double")
PARITY = Node(parity, "doubled", "odd", name="parity")
TOTAL = Node(add_up, ["number", "odd"], "total", name="add_up")
NODES = (DOUBLE, PARITY, TOTAL)


def test_an_unchanged_graph_is_computed_once(project):
    assert project.run(*NODES) == ["double", "parity", "add_up"]
    before = {path: path.stat().st_mtime_ns for path in project.folder.glob("[!r]*.json")}
    assert project.run(*NODES) == []
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize("entry", ["params:factor", "params:seed", "number"])
def test_another_value_computes_what_depends_on_it(project, entry):
    project.run(*NODES)
    if entry == "number":
        project.catalog["number"].save(5)
    else:
        project.catalog[entry] = MemoryDataset(4)
    expected = {
        "params:factor": ["double", "parity"],  # 12 % 2 is 6 % 2, so the total is not computed
        "params:seed": ["double", "parity", "add_up"],
        "number": ["double", "parity", "add_up"],
    }
    assert project.run(*NODES) == expected[entry]
    assert project.run(*NODES) == []


def test_another_version_of_the_code_computes_everything(project, monkeypatch):
    project.run(*NODES)
    monkeypatch.setattr(incremental, "code_version", lambda node: "another")
    assert project.run(*NODES) == ["double", "parity", "add_up"]


def test_fresh_computes_everything(project):
    project.run(*NODES)
    project.catalog["params:fresh"] = MemoryDataset(True)
    assert project.run(*NODES) == ["double", "parity", "add_up"]


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("7")])
def test_an_output_that_is_gone_or_replaced_is_made_again(project, damage):
    project.run(*NODES)
    damage(project.folder / "doubled.json")
    assert project.run(*NODES) == ["double"]
    assert project.catalog["doubled"].load() == 6


def test_the_log_says_what_is_kept_and_why_the_rest_is_computed(project, caplog):
    caplog.set_level(logging.INFO, "glasshead")
    project.run(*NODES)
    caplog.clear()
    project.catalog["params:factor"] = MemoryDataset(4)
    project.run(*NODES)
    said = [record.message for record in caplog.records]
    assert "double is computed: params:factor changed" in said
    assert "parity is computed: doubled changed" in said
    assert "add_up is unchanged: its results are kept" in said
    assert any(line.startswith("1 of 3 nodes are unchanged since an earlier") for line in said)


def test_memory_between_nodes_is_computed_each_time(project):
    first = Node(double, ["number", "params:factor"], "in_memory", name="first")
    second = Node(parity, "in_memory", "odd", name="second")
    assert project.run(first, second) == ["double", "parity"]
    assert project.run(first, second, TOTAL) == ["double", "parity", "add_up"]
    assert project.run(first, second, TOTAL) == ["double", "parity"]


def test_without_a_record_or_with_a_damaged_one_everything_is_computed(project):
    project.run(*NODES)
    (project.folder / "run_record.json").write_text("{")
    assert project.run(*NODES) == ["double", "parity", "add_up"]


def test_a_check_is_made_once_for_the_same_inputs(project):
    checked = Node(check, "number", None, name="check")
    assert project.run(checked) == ["check"]
    assert project.run(checked) == []
    project.catalog["number"].save(8)
    assert project.run(checked) == ["check"]


def test_makers_of_a_damaged_input_are_computed_in_the_next_run(project):
    """Else a run could not mend what a node can read but not use, such as a table that names lost embeddings."""
    refused = Node(refuse, "doubled", None, name="refuse")
    project.run(*NODES)
    for expected in (["refuse"], ["double", "refuse"]):
        with pytest.raises(ArtifactError):
            project.run(*NODES, refused)
        assert [call for call in calls if call in ("double", "refuse")] == expected


def test_a_store_that_only_grows_keeps_results_until_a_part_is_lost(project):
    folder = project.folder / "store"
    folder.mkdir()
    (folder / "a").write_text("1")
    project.catalog["store"] = EmbeddingStoreDataset(filepath=str(folder))
    node = Node(take_first, ["number", "store"], "total", name="sum")
    assert project.run(node) == ["sum"]
    (folder / "b").write_text("2")
    assert project.run(node) == []
    (folder / "a").unlink()
    assert project.run(node) == ["sum"]


def take_first(number, store):
    calls.append("sum")
    return number


def test_any_other_store_is_read_anew(project):
    project.catalog["store"] = ClassifierStoreDataset(filepath=str(project.folder), part="x")
    node = Node(take_first, ["number", "store"], "total", name="sum")
    assert project.run(node) == project.run(node) == ["sum"]
    project.catalog["store"] = CheckpointsDataset(filepath=str(project.folder))
    assert project.run(node) == ["sum"]
    assert project.run(node) == []


def test_functions_of_no_package_have_no_version(project, monkeypatch):
    monkeypatch.setattr(double, "__module__", "__main__")
    assert incremental.code_version(DOUBLE) is None
    assert project.run(DOUBLE) == project.run(DOUBLE) == ["double"]


def test_the_code_of_the_function_s_own_package_counts(tmp_path, monkeypatch):
    package = tmp_path / "own_nodes"
    package.mkdir()
    (package / "__init__.py").write_text("def make():\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    import own_nodes

    node = Node(own_nodes.make, None, "number", name="make")
    before = incremental.code_version(node)
    assert incremental.code_version(node) == before
    (package / "__init__.py").write_text("def make():\n    return 2\n\n")
    incremental._package_version.cache_clear()
    assert incremental.code_version(node) != before
    del sys.modules["own_nodes"]


class TestParameterDigest:
    def test_it_follows_value_and_the_files_that_the_value_names(self, tmp_path):
        (tmp_path / "images").mkdir()
        image = tmp_path / "images" / "a.png"
        image.write_bytes(b"1")
        given = {"path": str(tmp_path), "share": 0.5}
        first = parameter_digest(given)
        assert parameter_digest(given | {"share": 0.6}) != first
        assert parameter_digest(dict(given)) == first
        image.write_bytes(b"12")
        second = parameter_digest(given)
        assert second != first
        os.utime(image, ns=(0, 0))
        assert parameter_digest(given) != second

    def test_links_are_followed_and_lead_nowhere_twice(self, tmp_path):
        inside, outside = tmp_path / "inside", tmp_path / "outside"
        inside.mkdir()
        outside.mkdir()
        (inside / "linked").symlink_to(outside)
        (inside / "back").symlink_to(inside)
        (inside / "broken").symlink_to(tmp_path / "absent")
        first = parameter_digest(str(inside))
        assert first is not None
        (outside / "a.png").write_bytes(b"1")
        assert parameter_digest(str(inside)) != first

    def test_files_that_cannot_be_looked_at_are_unknown(self, tmp_path, monkeypatch):
        monkeypatch.setattr(os, "scandir", lambda path: (_ for _ in ()).throw(PermissionError()))
        assert parameter_digest(str(tmp_path)) is None

    def test_what_lies_at_a_remote_address_is_unknown(self):
        assert parameter_digest({"path": "s3://bucket/images"}) is None

    def test_a_hub_id_stands_for_the_revision_in_the_cache(self, tmp_path, monkeypatch):
        monkeypatch.setattr(incremental, "HF_HUB_CACHE", tmp_path)
        first = parameter_digest({"name": "owner/clip"})
        refs = tmp_path / "models--owner--clip" / "refs"
        refs.mkdir(parents=True)
        (refs / "main").write_text("abc")
        assert parameter_digest({"name": "owner/clip"}) != first


def test_the_digest_of_a_folder_follows_names_and_contents(tmp_path):
    (tmp_path / "a").write_text("1")
    first = path_digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    second = path_digest(tmp_path)
    (tmp_path / "b").write_text("2 ")
    assert len({first, second, path_digest(tmp_path)}) == 3


def test_kedro_viz_takes_it_for_sequential():
    assert is_sequential_runner({"runner": str(IncrementalRunner())})
