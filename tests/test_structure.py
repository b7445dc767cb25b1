"""The architecture, held against the code: the graph, the catalog, the import contracts."""

import re
import runpy
import subprocess
import sys
from collections import Counter
from inspect import signature, unwrap
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import cast, get_type_hints

import pandas as pd
import pytest
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog
from kedro.pipeline import Node, Pipeline
from kedro_datasets._typing import ImagePreview, JSONPreview, TablePreview
from omegaconf import OmegaConf
from pydantic import BaseModel

from glasshead.datasets import atomic
from glasshead.device import Computes
from glasshead.hooks.routes import check_kinds, kind_of
from glasshead.models.classifier import class_of
from glasshead.pipeline_registry import CLASSIFIERS, CORRIDOR, register_pipelines
from glasshead.pipelines.explain import pipeline as explain
from glasshead.settings import CONFIG_LOADER_ARGS

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
IMAGES = SimpleNamespace(check_rows=lambda samples: None)
LABELLED = pd.DataFrame(
    {
        "split": ["train", "validation", "calibration", "test"],
        "label": "cat",
        "logit/cat": 0.0,
    }
)
LAYERS = (
    "raw",
    "intermediate",
    "primary",
    "feature",
    "model_input",
    "models",
    "model_output",
    "reporting",
)
SOFTMAX = {"heads", "cnn", "transfer", "ensemble", "external"}
WHOLE = SOFTMAX | {"risk"}
COMPARISONS = {"cnn_ablation", "transfer_comparison", "risk_ablation", "report_comparison"}
DATA_STAGES = {"ingest", "preprocess", "embed"}
CORRIDOR_STAGES = {"calibrate", "evaluate", "explain", "report"}
STAGES = CORRIDOR_STAGES | {"explain_full", "robustness", "export"}
OF_LABELS = {"calibrate", "prove", "evaluate", "report", "export"}  # a sigmoid output's stages
TOOLS = {"embed_texts", "pretrain"}
LOGGED = {  # to MLflow, by the last part of the name and besides the figures
    "ablation": "table",
    "training_history": "curves",
    "classifier": "classifier",
    "comparison": "table",
    "comparison_report": "document",
    "embed_summary": "metrics",
    "explanations": "explanations",
    "export_metrics": "metrics",
    "findings": "table",
    "flips": "table",
    "interpolation": "table",
    "interventions": "metrics",
    "latency": "table",
    "metrics": "metrics",
    "model_card": "document",
    "nano_clip_training_history": "curves",
    "nano_clip_metrics": "metrics",
    "outside_findings": "table",
    "parent_training_history": "curves",
    "preflight": "table",
    "processor": "backbone",
    "report": "document",
    "robustness": "table",
    "run_record": "document",
    "shortcut_findings": "table",
    "step_log": "curves",
    "taxonomy": "taxonomy",
    "to_review": "table",
    "variants": "variants",
}
CONCEPT_NODES = {
    node.name
    for node in (
        explain.create_pipeline(concepts=True) - explain.create_pipeline(concepts=False)
    ).nodes
}


@pytest.fixture(scope="module")
def pipelines() -> dict[str, Pipeline]:
    return register_pipelines()


@pytest.fixture(scope="module")
def datasets(pipelines: dict[str, Pipeline]) -> set[str]:
    """All datasets of all pipelines, parameters left out."""
    names = set().union(*(pipeline.datasets() for pipeline in pipelines.values()))
    return {name for name in names if not name.startswith("params:")}


@pytest.fixture(scope="module")
def config() -> OmegaConfigLoader:
    return OmegaConfigLoader(str(ROOT / "conf"), env="base", **CONFIG_LOADER_ARGS)


class TestPipelines:
    def test_every_stage_of_every_classifier_is_registered(
        self, pipelines: dict[str, Pipeline]
    ) -> None:
        stages = STAGES | {f"{name}_{stage}" for name in SOFTMAX - {"heads"} for stage in STAGES}
        stages |= {f"risk_{stage}" for stage in OF_LABELS}
        trainings = {f"train_{name}" for name in WHOLE}
        expected = WHOLE | stages | trainings | DATA_STAGES | COMPARISONS | TOOLS | {"__default__"}
        assert expected == pipelines.keys()
        assert set(CLASSIFIERS) == WHOLE

    def test_the_default_is_every_stage_of_heads(self, pipelines: dict[str, Pipeline]) -> None:
        stages = DATA_STAGES | CORRIDOR_STAGES | {"train_heads"}
        nodes = set().union(*({node.name for node in pipelines[name].nodes} for name in stages))
        assert {node.name for node in pipelines["__default__"].nodes} == nodes

    @pytest.mark.parametrize("name", ["__default__", *CLASSIFIERS])
    def test_a_whole_pipeline_is_a_handful_of_boxes(
        self, pipelines: dict[str, Pipeline], name: str
    ) -> None:
        """Kedro-Viz folds a namespace into one box, and shows those within when it is unfolded."""
        classifier = "heads" if name == "__default__" else name
        boxes = {(node.namespace or node.name).split(".")[0] for node in pipelines[name].nodes}
        assert boxes == {*CLASSIFIERS[classifier].data, classifier}
        own = pipelines[name].only_nodes_with_namespaces([classifier]).nodes
        inner = {node.namespace for node in own}
        is_gated = CLASSIFIERS[classifier].output == "softmax"
        stages = set(CORRIDOR) - ({"prove"} if is_gated else {"explain"})
        gate = {classifier} if is_gated else set()
        assert inner == gate | {f"{classifier}.{stage}" for stage in stages}
        assert {node.name for node in own if node.namespace == classifier} == {
            f"{name}.check_gate" for name in gate
        }

    def test_a_report_compares_every_kind(self, config: OmegaConfigLoader) -> None:
        assert config["parameters"]["report"]["compare"] == [
            name for name, kind in CLASSIFIERS.items() if kind.output == "softmax"
        ]

    def test_every_kind_can_be_loaded(self) -> None:
        assert {name: class_of(name).kind for name in CLASSIFIERS} == {x: x for x in CLASSIFIERS}
        for name in ("clip", "classifier", "nowhere", "..heads"):
            with pytest.raises(LookupError):
                class_of(name)

    @pytest.mark.parametrize(
        ("name", "classifier"),
        [
            ("__default__", "heads"),
            ("heads", "heads"),
            ("evaluate", "heads"),
            ("cnn_evaluate", "cnn"),
            ("cnn", "cnn"),
            ("transfer", "transfer"),
            ("ensemble", "ensemble"),
        ],
    )
    def test_the_gate_acts_when_all_is_saved(
        self, pipelines: dict[str, Pipeline], name: str, classifier: str
    ) -> None:
        *others, last = pipelines[name].nodes
        assert last.name == f"{classifier}.check_gate"
        before = Pipeline(others)
        assert before.outputs() <= set(last.inputs)

    @pytest.mark.parametrize("name", ["cnn", "transfer", "ensemble"])
    def test_all_walk_the_corridor_of_heads_without_clip(
        self, pipelines: dict[str, Pipeline], name: str
    ) -> None:
        found = {node.name for node in pipelines[name].nodes}
        for stage in CORRIDOR_STAGES:
            names = {node.name.replace("heads.", f"{name}.") for node in pipelines[stage].nodes}
            assert {node.split(".")[-1] for node in names - found} <= CONCEPT_NODES
        assert not {"embeddings", "params:backbone"} & pipelines[name].all_inputs()

    def test_a_comparison_is_a_handful_of_nodes(self, pipelines: dict[str, Pipeline]) -> None:
        data = {node.name for node in pipelines["cnn"].nodes}
        for name in ("cnn_ablation", "transfer_comparison", "risk_ablation"):
            assert len([node for node in pipelines[name].nodes if node.name not in data]) <= 8

    def test_every_dataset_has_one_writer(self, pipelines: dict[str, Pipeline]) -> None:
        nodes = {node.name: node for pipeline in pipelines.values() for node in pipeline.nodes}
        writers = Counter(output for node in nodes.values() for output in node.outputs)
        assert {name for name, count in writers.items() if count > 1} == set()

    def test_nodes_are_named_after_their_functions(self, pipelines: dict[str, Pipeline]) -> None:
        for node in set().union(*(pipeline.nodes for pipeline in pipelines.values())):
            assert node.name.rsplit(".", 1)[-1] == node.func.__name__

    def test_every_node_gives_its_function_what_it_takes(
        self, pipelines: dict[str, Pipeline]
    ) -> None:
        """Kedro checks this where nodes are made, but not of functions that are imported later."""
        for node in set().union(*(pipeline.nodes for pipeline in pipelines.values())):
            Node(unwrap(node.func), node._inputs, node._outputs)

    def test_every_pipeline_parameter_is_a_validated_type(
        self, pipelines: dict[str, Pipeline]
    ) -> None:
        """By the hint of one node of the pipeline; the others take what that gives."""
        for name, pipeline in pipelines.items():
            hints: dict[str, set[type]] = {entry: set() for entry in pipeline.inputs()}
            for node in pipeline.nodes:
                for entry, hint in zip(node.inputs, parameter_hints(node), strict=False):
                    hints.setdefault(entry, set()).add(hint)
            for entry, found in hints.items():
                if entry.startswith("params:") and entry != "params:seed":
                    models = [hint for hint in found if issubclass(hint, BaseModel)]
                    assert len(models) == 1, (name, entry)
                    assert models[0].model_config.get("extra") == "forbid", (name, entry)
                    assert found - set(models) <= {Computes}, (name, entry)


class TestSplits:
    """What the graph can show of "fit on train, select on validation, calibrate on calibration, report on test"."""

    @pytest.mark.parametrize(
        ("pipeline", "name"),
        [
            ("calibrate", "heads"),
            ("cnn", "cnn"),
            ("transfer", "transfer"),
            ("ensemble", "ensemble"),
        ],
    )
    def test_the_temperature_never_sees_test_rows(
        self, pipelines: dict[str, Pipeline], pipeline: str, name: str
    ) -> None:
        (fit,) = named(pipelines[pipeline], f"{name}.calibrate.fit_temperatures")
        assert set(fit.inputs) == {f"{name}.calibration_logits", "params:calibrate"}
        (threshold,) = named(pipelines[pipeline], f"{name}.calibrate.fit_threshold")
        assert set(threshold.inputs) - set(fit.inputs) == {f"{name}.temperatures"}
        (select,) = pipelines[pipeline].only_nodes_with_outputs(f"{name}.calibration_logits").nodes
        assert set(select.func(LABELLED)["split"]) == {"calibration"}

    @pytest.mark.parametrize(
        ("pipeline", "fit"),
        [
            ("train_heads", "heads.train.fit_heads"),
            ("train_heads", "heads.train.predict_baselines"),
            ("train_cnn", "cnn.train.fit_cnn"),
            ("train_cnn", "cnn.train.predict_baselines"),
            ("train_transfer", "transfer.train.fit_transfer"),
            ("train_transfer", "transfer.train.predict_majority"),
            ("risk", "risk.train.fit_auditor"),
            ("risk", "risk.train.fit_reference"),
            ("risk_ablation", "risk_ablation.fit_variants"),
            ("cnn_ablation", "cnn_ablation.fit_variants"),
            ("transfer_comparison", "transfer_comparison.fit_variants"),
        ],
    )
    def test_fits_get_train_and_validation_rows_alone(
        self, pipelines: dict[str, Pipeline], pipeline: str, fit: str
    ) -> None:
        (node,) = named(pipelines[pipeline], fit)
        assert "samples" not in node.inputs
        rows = f"{fit.split('.')[0]}.fitting_samples"
        assert rows in node.inputs
        (select,) = pipelines[pipeline].only_nodes_with_outputs(rows).nodes
        assert set(select.func(IMAGES, LABELLED)["split"]) == {"train", "validation"}

    def test_a_risk_is_calibrated_on_calibration_rows_alone(
        self, pipelines: dict[str, Pipeline]
    ) -> None:
        (fit,) = named(pipelines["risk"], "risk.calibrate.fit_temperatures")
        assert fit.inputs == ["risk.calibration_logits", "params:calibrate"]
        (select,) = pipelines["risk"].only_nodes_with_outputs("risk.calibration_logits").nodes
        assert set(select.func(LABELLED)["split"]) == {"calibration"}

    @pytest.mark.parametrize(
        ("pipeline", "fits"),
        [
            ("risk", ("train.fit_auditor", "train.fit_reference", "calibrate.fit_temperatures")),
            ("risk_ablation", ("fit_variants",)),
            ("cnn_ablation", ("fit_variants",)),
            ("transfer_comparison", ("pretrain_parents", "fit_variants")),
        ],
    )
    def test_no_fit_comes_from_what_is_measured(
        self, pipelines: dict[str, Pipeline], pipeline: str, fits: tuple[str, ...]
    ) -> None:
        before = pipelines[pipeline].to_nodes(*(f"{pipeline}.{fit}" for fit in fits))
        readers = {node.name for node in before.nodes if "samples" in node.inputs}
        # predict_risk passes labels on; select_calibration takes those of calibration rows alone.
        stage = "train." if pipeline == "risk" else ""
        selects = f"{pipeline}.{stage}select_fitting_samples"
        assert readers - {"risk.train.predict_risk"} == {selects}

    def test_nothing_before_evaluate_reads_what_evaluate_finds(
        self, pipelines: dict[str, Pipeline]
    ) -> None:
        found = pipelines["evaluate"].all_outputs()
        before = DATA_STAGES | {"train_heads", "calibrate"}
        for name in before:
            assert not found & pipelines[name].all_inputs()


class TestCatalog:
    def test_every_dataset_is_declared(self, datasets: set[str], config: OmegaConfigLoader) -> None:
        catalog = DataCatalog.from_config(config["catalog"])
        assert {name for name in datasets if name not in catalog} == set()

    def test_every_entry_has_a_layer(self, config: OmegaConfigLoader) -> None:
        for name, entry in config["catalog"].items():
            assert entry["metadata"]["kedro-viz"]["layer"] in LAYERS, name

    def test_results_say_how_they_go_to_mlflow(
        self, datasets: set[str], config: OmegaConfigLoader
    ) -> None:
        catalog = DataCatalog.from_config(config["catalog"])
        check_kinds(config["catalog"])
        kinds = {name: kind for name in datasets if (kind := kind_of(catalog, name))}
        figures = {name for name in datasets if isinstance(catalog.get(name), atomic.AtomicFigure)}
        assert {name for name, kind in kinds.items() if kind == "figure"} == figures
        assert len(figures) > 50
        others = {name: kind for name, kind in kinds.items() if name not in figures}
        assert {name.rsplit(".", 1)[-1]: kind for name, kind in others.items()} == LOGGED
        unlogged = {name for name in datasets - kinds.keys() if name.rsplit(".", 1)[-1] in LOGGED}
        assert not unlogged

    def test_no_arrow_points_to_an_earlier_layer(
        self, pipelines: dict[str, Pipeline], config: OmegaConfigLoader
    ) -> None:
        entries = config["catalog"]  # read once: each look-up reads the files again
        resolver = DataCatalog.from_config(entries).config_resolver

        def layer(name: str) -> int:
            entry = entries[resolver.match_dataset_pattern(name) or name]
            return LAYERS.index(entry["metadata"]["kedro-viz"]["layer"])

        for node in {node for pipeline in pipelines.values() for node in pipeline.nodes}:
            inputs = [layer(name) for name in node.inputs if not name.startswith("params:")]
            outputs = [layer(name) for name in node.outputs]
            assert max(inputs, default=0) <= min(outputs, default=len(LAYERS)), node.name

    @pytest.mark.parametrize(
        "name", ["__default__", "cnn", "transfer", "cnn_ablation", "transfer_comparison"]
    )
    def test_the_order_of_layers_is_settled(
        self, pipelines: dict[str, Pipeline], config: OmegaConfigLoader, name: str
    ) -> None:
        """Kedro-Viz sorts layers by what depends on what: where nothing does, it shows them in any order."""
        entries, pipeline = config["catalog"], pipelines[name]
        resolver = DataCatalog.from_config(entries).config_resolver
        layers: dict[int, set[str]] = {}
        for dataset in pipeline.datasets():
            if not dataset.startswith("params:"):
                entry = entries[resolver.match_dataset_pattern(dataset) or dataset]
                place = LAYERS.index(entry["metadata"]["kedro-viz"]["layer"])
                layers.setdefault(place, set()).add(dataset)
        for upper, lower in pairwise(sorted(layers)):
            read = layers[upper] & pipeline.all_inputs()
            assert pipeline.from_inputs(*read).all_outputs() & layers[lower], LAYERS[lower]

    def test_every_entry_is_used(self, datasets: set[str], config: OmegaConfigLoader) -> None:
        resolver = DataCatalog.from_config(config["catalog"]).config_resolver
        matched = {resolver.match_dataset_pattern(name) for name in datasets} | datasets
        written_by_hooks = {"{classifier}.artefacts"}
        assert set(config["catalog"]) - written_by_hooks <= matched

    def test_figures_metrics_and_tables_have_a_preview(self, config: OmegaConfigLoader) -> None:
        """Kedro-Viz reads the kind of a preview off the annotation, which must not be text."""
        kinds = {
            "AtomicFigure": ImagePreview,
            "AtomicJSON": JSONPreview,
            "AtomicTable": TablePreview,
        }
        found = {entry["type"].rsplit(".", 1)[-1] for entry in config["catalog"].values()}
        assert kinds.keys() <= found
        for name, kind in kinds.items():
            assert signature(getattr(atomic, name).preview).return_annotation is kind

    def test_one_setting_moves_the_store_for_all_who_read_it(self, tmp_path: Path) -> None:
        (tmp_path / "base").symlink_to(ROOT / "conf" / "base")
        (tmp_path / "local").mkdir()
        (tmp_path / "local" / "globals.yml").write_text("embedding_store: /elsewhere")
        catalog = OmegaConfigLoader(str(tmp_path), env="local", **CONFIG_LOADER_ARGS)["catalog"]
        assert catalog["embedding_store"]["filepath"] == "/elsewhere"
        assert catalog["embeddings"]["store"]["filepath"] == "/elsewhere"

    def test_no_two_datasets_share_a_file(
        self, datasets: set[str], config: OmegaConfigLoader
    ) -> None:
        catalog = DataCatalog.from_config(config["catalog"])
        paths = Counter(str(getattr(catalog.get(name), "_filepath", name)) for name in datasets)
        assert {path for path, count in paths.items() if count > 1} == set()


class TestParameters:
    def test_environments_only_change_what_base_has(self, config: OmegaConfigLoader) -> None:
        base = config["parameters"]
        for environment in ("cifar10", "gpu", "test"):
            assert leaves(changes(environment)).keys() <= leaves(base).keys(), environment

    @pytest.mark.parametrize(
        ("comparison", "recipe", "compared"),
        [
            ("cnn_ablation", "train_cnn", {"augmentation", "test_time_augmentation"}),
            (
                "transfer_comparison",
                "train_transfer",
                {
                    "network.architecture",
                    "network.interpolation",
                    "strategy.strategy",
                    "photographs",
                },
            ),
        ],
    )
    def test_what_cifar10_compares_is_its_recipe(
        self, comparison: str, recipe: str, compared: set[str]
    ) -> None:
        """A comparison may train for less."""
        loader = OmegaConfigLoader(str(ROOT / "conf"), env="cifar10", **CONFIG_LOADER_ARGS)
        ours, theirs = (
            {
                name: value
                for name, value in leaves(loader["parameters"][block]).items()
                if not {name, name.split(".")[0]} & compared
            }
            for block in (comparison, recipe)
        )
        assert ours.pop("training.epochs") <= theirs.pop("training.epochs")
        assert ours == theirs

    def test_a_comparison_follows_its_recipe_until_it_is_told_otherwise(self) -> None:
        recipe = {"train_transfer": {"training": {"epochs": 3, "batch_size": 7}}}
        told = {"transfer_comparison": {"training": {"epochs": 2}}}
        loader = OmegaConfigLoader(
            str(ROOT / "conf"), env="base", runtime_params=recipe | told, **CONFIG_LOADER_ARGS
        )
        training = loader["parameters"]["transfer_comparison"]["training"]
        assert (training["epochs"], training["batch_size"]) == (2, 7)
        assert loader["parameters"]["train_transfer"]["training"]["epochs"] == 3

    def test_the_test_environment_only_shrinks_numbers(self, config: OmegaConfigLoader) -> None:
        base = leaves(config["parameters"])
        for name, value in leaves(changes("test")).items():
            assert base[name] in (None, "auto") or value <= base[name], name  # None: all


class TestCode:
    def test_the_page_of_benchmarks_is_that_of_their_results(self) -> None:
        report = runpy.run_path(str(ROOT / "benchmarks" / "report.py"))
        assert (ROOT / "docs" / "benchmarks.md").read_text() == report["make_page"]()

    def test_import_contracts_hold(self) -> None:
        lint = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
        done = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout

    def test_every_module_is_under_a_contract(self) -> None:
        """A new package must be given its place in pyproject.toml."""
        contracts = (ROOT / "pyproject.toml").read_text().split("[tool.importlinter]")[1]
        package = ROOT / "src" / "glasshead"
        top = {
            path.relative_to(package).parts[0].removesuffix(".py") for path in package.rglob("*.py")
        }
        placed = {name for name in top if re.search(rf"glasshead\.{name}\b", contracts)}
        assert top - placed == {"__init__", "__main__", "hooks", "settings"}

    @pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
    def test_nothing_can_run_a_pickle(self, path: Path) -> None:
        code = path.read_text()
        assert not re.search(
            r"^\s*(import|from) (pickle|dill|joblib|cloudpickle)\b", code, re.MULTILINE
        )
        assert not re.search(r"torch\.load\(|allow_pickle=True|weights_only=False", code)


def leaves(tree: dict[str, object], prefix: str = "") -> dict[str, object]:
    """Return the leaves of nested mappings by dotted path."""
    found: dict[str, object] = {}
    for key, value in tree.items():
        nested = isinstance(value, dict)
        found |= leaves(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found


def changes(environment: str) -> dict[str, object]:
    """Return the parameters that an environment itself states."""
    paths = sorted((ROOT / "conf" / environment).glob("parameters*.yml"))
    merged = OmegaConf.merge(*(OmegaConf.load(path) for path in paths))
    return cast(dict[str, object], OmegaConf.to_container(merged, resolve=True))


def named(pipeline: Pipeline, name: str) -> list[Node]:
    return pipeline.only_nodes(name).nodes


def parameter_hints(node: Node) -> list[type]:
    return [hint for name, hint in get_type_hints(node.func).items() if name != "return"]
