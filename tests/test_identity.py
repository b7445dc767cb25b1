"""One identity of a training: the manifest on files, and the hook on a pipeline that is run twice."""

import json
import shutil

import pandas as pd
import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner

from glasshead.datasets.atomic import AtomicJSON, AtomicTable
from glasshead.datasets.results import Results
from glasshead.errors import ArtifactError
from glasshead.hooks.identity import IdentityHooks
from glasshead.manifest import Manifest, require_same_training


class FakeClassifier(dict):
    """JSON that knows its training."""

    def training_id(self):
        return f"training {self['seed']}"


def pipeline():
    """Return a corridor: rows, a fit, what it gives, how that is judged, and a report on both."""
    return Pipeline(
        [
            Node(lambda: pd.DataFrame({"row": [1]}), None, "x.fitting_samples", name="select"),
            Node(
                lambda rows, seed: FakeClassifier(seed=seed, temperature=1.0),
                ["x.fitting_samples", "params:seed"],
                "x.uncalibrated",
                name="fit",
            ),
            Node(lambda fitted: {"seed": fitted["seed"]}, "x.uncalibrated", "x.logits", name="go"),
            Node(lambda logits: {"accuracy": 1.0}, "x.logits", "x.metrics", name="judge"),
            Node(
                lambda fitted, metrics: {"of": [dict(fitted), metrics]},
                ["x.uncalibrated", "x.metrics"],
                "x.report",
                name="report",
            ),
        ]
    )


@pytest.fixture
def run(tmp_path):
    """Return a function that runs nodes with a seed, on files under tmp_path."""

    def run(seed=0, kept=(), **chosen):
        entries = ("uncalibrated", "logits", "metrics", "report", "artefacts")
        datasets = {
            f"x.{name}": AtomicJSON(filepath=str(tmp_path / f"data/x/{name}.json"))
            for name in entries
        }
        datasets["x.fitting_samples"] = AtomicTable(filepath=str(tmp_path / "data/x/rows.parquet"))
        catalog = DataCatalog(datasets)
        catalog["params:seed"] = seed
        manager = _create_hook_manager()
        manager.register(IdentityHooks())
        manager.hook.before_pipeline_run(
            run_params={"pipeline_names": None}, pipeline=pipeline(), catalog=catalog
        )
        nodes = pipeline().filter(**chosen) if chosen else pipeline()
        SequentialRunner().run(nodes, catalog, manager)
        for node in pipeline().filter(node_names=kept).nodes if kept else []:
            manager.hook.after_node_kept(node=node, catalog=catalog)
        return tmp_path / "data" / "x"

    return run


class TestHook:
    def test_all_that_is_made_carries_the_id_and_what_precedes_it_none(self, run):
        folder = run(seed=3)
        manifest = Manifest(folder / "artefacts.json")
        trainings = {name: entry["training"] for name, entry in manifest.entries().items()}
        made = ("uncalibrated", "logits", "metrics", "report")
        assert trainings == {"rows.parquet": None} | {f"{name}.json": "training 3" for name in made}

    def test_two_trainings_of_the_same_numbers_are_not_mixed(self, run):
        run(seed=1)
        run(seed=2, node_names=["fit"])
        with pytest.raises(ArtifactError, match=r"x\.metrics and x\.unc.* come from different"):
            run(seed=2, node_names=["report"])

    def test_files_of_another_training_put_in_place_are_refused(self, run, tmp_path):
        folder = run(seed=1)
        shutil.copytree(folder, tmp_path / "kept")
        run(seed=2)
        shutil.copy(tmp_path / "kept" / "logits.json", folder)
        with pytest.raises(
            ArtifactError, match=r"logits\.json is not the file that the last run of x wrote"
        ):
            run(seed=2, node_names=["judge"])

    def test_a_flipped_bit_is_refused(self, run):
        folder = run()
        path = folder / "metrics.json"
        path.write_text(path.read_text().replace("1.0", "1.1"))
        with pytest.raises(ArtifactError, match=r"metrics\.json is not the file"):
            run(node_names=["report"])

    def test_the_same_training_again_goes_on_with_what_lies_there(self, run):
        run(seed=1)
        run(seed=1, node_names=["fit"])
        run(seed=1, node_names=["report"])

    def test_what_an_unchanged_node_keeps_belongs_to_the_new_training(self, run):
        """The metrics of both trainings are equal, so the node that makes them is left out of the second run."""
        run(seed=1)
        folder = run(seed=2, node_names=["fit", "go"], kept=["judge"])
        assert Manifest(folder / "artefacts.json").training(folder / "metrics.json") == "training 2"
        run(seed=2, node_names=["report"])

    def test_a_moved_project_is_read_as_before(self, run, tmp_path):
        folder = run(seed=1)
        moved = tmp_path / "elsewhere" / "x"
        shutil.copytree(folder, moved)
        manifest = Manifest(moved / "artefacts.json")
        assert manifest.training(moved / "metrics.json") == "training 1"


class TestManifest:
    def test_one_that_is_damaged_says_so(self, tmp_path):
        path = tmp_path / "artefacts.json"
        path.write_text("{")
        with pytest.raises(ArtifactError, match=r"artefacts\.json is damaged"):
            Manifest(path).entries()

    def test_what_it_does_not_name_is_refused(self, tmp_path):
        (tmp_path / "metrics.json").write_text("{}")
        with pytest.raises(ArtifactError, match="is not the file that the last run of"):
            Manifest(tmp_path / "artefacts.json").training(tmp_path / "metrics.json")

    def test_results_know_their_training_or_nothing(self, run):
        results = Results(run(seed=5).parent)
        assert results.training("x/metrics.json") == "training 5"
        assert results.training("x/absent.json") is None
        (results.path / "x" / "metrics.json").write_text("{}")
        assert results.training("x/metrics.json") is None
        assert json.loads((results.path / "x" / "artefacts.json").read_text())["metrics.json"]


def test_what_precedes_a_training_goes_with_any():
    assert require_same_training({"a": None, "b": "1", "c": "1"}, "x") == "1"
    assert require_same_training({"a": None}, "x") is None
    with pytest.raises(
        ArtifactError,
        match=r"c and b come from different trainings\. Run `kedro run --pipelines=x`",
    ):
        require_same_training({"a": None, "b": "1", "c": "2"}, "x")
