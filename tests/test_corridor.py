"""The whole project in the `test` environment, by the commands of the README, in a copy of its configuration."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.io import DataCatalog, MemoryDataset
from kedro_viz.integrations.deployment.local_deployer import LocalDeployer
from kedro_viz.server import load_and_populate_data
from markupsafe import escape
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from glasshead import incremental
from glasshead.__main__ import main
from glasshead.explainers.methods import METHODS, real_methods
from glasshead.images.scenes import CLASSES
from glasshead.images.table import ImageTable
from glasshead.incremental import Identities
from glasshead.manifest import Manifest
from glasshead.models.classifier import Classifier
from glasshead.models.variants import name_of
from glasshead.pipelines.train_cnn import ablation_nodes
from glasshead.pipelines.train_cnn.ablation_nodes import VARIANTS
from glasshead.reporting.page import escaped
from glasshead.reporting.site import clean_site
from glasshead.serving.export import run_onnx
from glasshead.training.augment import PRESETS

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "src" / "glasshead" / "assets" / "samples"
REPORTING = Path("data/08_reporting/heads")
CNN_REPORTING = Path("data/08_reporting/cnn")
METRICS = {
    "accuracy",
    "macro_f1",
    "top2_accuracy",
    "nll",
    "brier",
    "ece",
    "ece_debiased",
    "ece_uncalibrated",
    "ece_equal_mass",
    "ece_classwise",
    "ece_consistency_95",
    "temperature",
    "nll_uncalibrated",
    "accuracy_majority",
    "coverage",
    "selective_risk",
}
HEADS_METRICS = METRICS | {
    "accuracy_linear_probe",
    "accuracy_random_concepts",
    "accuracy_hard_concepts",
    "accuracy_zero_shot",
}
FIGURES = [
    "training_history",
    "confusion_matrix",
    "class_recall",
    "reliability",
    "confused_pairs",
    "explanation_gallery",
]
HEADS_FIGURES = [
    *FIGURES,
    *(f"shapley_{name}" for name in ("images", "global", "beeswarm", "mistake", "right")),
    "interactions",
    "interventions",
]
# 480 given as train, 48 a class: a tenth of them, rounded, to calibration and to validation.
SPLITS = {"calibration": 50, "test": 120, "train": 380, "validation": 50}

HEAVY = [
    "ingest.read_images",
    "preprocess.build_samples",
    "embed.embed_images",
    "heads.train.fit_heads",
    "heads.train.predict_baselines",
    "heads.calibrate.fit_temperatures",
    "heads.explain.explain_pixels",
    "heads.explain.measure_explanations",
    "heads.explain.explain_concepts",
    "heads.explain.explain_answers",
    "heads.explain.plot_mistakes",
]

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def first_run(run: Run) -> Result:
    """Return the result of the default run, which the tests below build on."""
    return run()


@pytest.fixture(scope="module")
def cnn_run(run: Run) -> Result:
    return run("--pipelines=cnn")


@pytest.fixture(scope="module")
def ablation_run(run: Run) -> Result:
    return run("--pipelines=cnn_ablation")


def test_spatial_embeddings_for_heads_are_refused_before_any_node_runs(run: Run) -> None:
    for options in ((), ("--pipelines=embed,train_heads",)):
        result = run("--params=embed.output=spatial", *options)
        assert result.exit_code == 1
        assert "Heads read one vector for each image, but embed.output=spatial" in result.stderr
        assert "took" not in result.stderr


def predict(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["predict", *arguments])


def read_metrics(folder: Path = REPORTING) -> dict[str, dict[str, float | None]]:
    content: dict[str, dict[str, float | None]] = json.loads((folder / "metrics.json").read_text())
    return content


def last_runs(count: int = 1) -> list[mlflow.entities.Run]:
    client = mlflow.MlflowClient(f"sqlite:///{Path.cwd()}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("glasshead")
    runs: list[mlflow.entities.Run] = client.search_runs(
        [experiment.experiment_id], order_by=["attributes.start_time DESC"], max_results=count
    )
    return runs


def digests() -> dict[Path, str]:
    """Return the SHA-256 of every file that runs have left but the record, which holds times."""
    files = {path for path in Path("data").rglob("*") if path.is_file()}
    files.discard(Path("data/08_reporting/run_record.json"))
    return {path: incremental.path_digest(path) for path in files}


@contextmanager
def changed(catalog: DataCatalog, name: str) -> Iterator[None]:
    """Give a parameter another value, or the file or folder of a dataset another content."""
    if name.startswith("params:"):
        given = catalog[name].load()
        other = given + 1 if isinstance(given, int) else {"another": 1}
        catalog[name] = MemoryDataset(other)
        yield
        catalog[name] = MemoryDataset(given)
        return
    path = Path(getattr(catalog[name], "_filepath", None) or catalog[name]._path)
    file = min(path.rglob("*.*")) if path.is_dir() else path
    content = file.read_bytes()
    file.write_bytes(content + b"\n")
    yield
    file.write_bytes(content)


def check_documents(folder: Path) -> None:
    """Assert that report and model card of a classifier hold each of its metrics."""
    report, card = ((folder / name).read_text() for name in ("report.html", "model_card.md"))
    shown = dict(re.findall(r'data-metric="([^"]*)">.*?<td class="n" data-sort="([^"]*)"', report))
    metrics = read_metrics(folder)
    assert shown.keys() == metrics.keys()
    for name, found in metrics.items():
        assert (float(shown[name]) if shown[name] else None) == found["value"]
        assert f"| {escaped(name)} |" in card
    findings = json.loads((folder / "findings.json").read_text())
    assert all(str(escape(each["summary"])) in report for each in findings)
    assert all(escaped(each["summary"]) in card for each in findings)
    made = [each for each in findings if each["evidence"]]
    counted = {0: "and found nothing", 1: "1 finding"}.get(len(made), f"{len(made)} findings")
    missed = f"; {len(findings) - len(made)} not made" if len(made) < len(findings) else ""
    assert f"Checks of this classifier: run, {counted}{missed}." in report
    assert len(report) < 15_000_000
    assert "://" not in report


class TestDefaultRun:
    def test_it_leaves_every_result(self, first_run: Result) -> None:
        assert first_run.exit_code == 0, first_run.stderr[-2000:]
        assert all((REPORTING / "figures" / f"{name}.png").is_file() for name in HEADS_FIGURES)
        assert (REPORTING / "explanations.json").is_file()
        assert (REPORTING / "flips.csv").is_file()
        assert Path("data/06_models/heads/calibrated/classifier.json").is_file()

    def test_metrics_are_those_of_the_contract(self, first_run: Result) -> None:
        metrics = read_metrics()
        assert set(metrics) >= HEADS_METRICS
        assert {"subtask/wheels/accuracy", "subtask/brightness/ece"} <= set(metrics)
        assert all(set(entry) == {"value", "low", "high", "n"} for entry in metrics.values())
        assert metrics["accuracy"]["n"] == 120

    def test_report_and_card_hold_every_metric(self, first_run: Result) -> None:
        check_documents(REPORTING)
        report = (REPORTING / "report.html").read_text()
        assert '<td class="name"><bdi title="heads.train.fit_heads">' in report
        assert "kedro run --env=test" in report
        assert all(f"figures/{name}" not in report for name in HEADS_FIGURES)  # inside, not beside
        assert report.count("data:image/") > len(HEADS_FIGURES)

    def test_heads_beat_the_baselines_they_must_beat(self, first_run: Result) -> None:
        metrics = read_metrics()
        assert metrics["accuracy"]["low"] > metrics["accuracy_majority"]["value"]
        assert metrics["accuracy"]["value"] > 0.5

    def test_nano_clip_knows_the_scenes_by_their_names(self, first_run: Result) -> None:
        metrics = read_metrics()
        assert metrics["accuracy_zero_shot"]["low"] > metrics["accuracy_majority"]["high"]

    def test_predictions_hold_all_splits_classes_and_concepts(self, first_run: Result) -> None:
        predictions = pd.read_parquet("data/07_model_output/heads/predictions.parquet")
        assert predictions.groupby("split").size().to_dict() == SPLITS
        probabilities = predictions[[f"probability/{name}" for name in CLASSES]]
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
        wheels = predictions[["concept/wheels/yes", "concept/wheels/no"]]
        np.testing.assert_allclose(wheels.sum(axis=1), 1, atol=1e-6)

    def test_the_run_is_tracked(self, first_run: Result) -> None:
        tracked = last_runs()[0]
        assert tracked.info.status == "FINISHED"
        assert tracked.data.params["train_heads.training.mode"] == "joint"
        assert not any("Params(" in value for value in tracked.data.params.values())
        assert tracked.data.metrics["accuracy"] == read_metrics()["accuracy"]["value"]
        corrected = json.loads((REPORTING / "interventions.json").read_text())
        name = "intervention/uncertainty/mean"
        assert tracked.data.metrics[name] == corrected[name]["value"]
        expected = {"source": "scenes", "taxonomy": "concepts", "backbone": "nano-clip"}
        assert (
            expected | {"env": "test", "classifier": "heads"}
        ).items() <= tracked.data.tags.items()
        explained = json.loads((REPORTING / "explanations.json").read_text())
        assert tracked.data.tags["best_explanation"] in real_methods(METHODS.keys() & explained)
        assert len(tracked.inputs.dataset_inputs) == 1

    def test_all_that_kedro_viz_can_show_has_a_preview(self, first_run: Result) -> None:
        with KedroSession.create(Path.cwd(), env="test") as session:
            catalog = session.load_context().catalog
        names = {n for n in pipelines["__default__"].datasets() if not n.startswith("params:")}
        previews = {
            name: preview()
            for name in names
            if (preview := getattr(catalog.get(name), "preview", None))
        }
        assert len(previews) > 40
        for name, preview in previews.items():
            if name.endswith("_figure"):
                assert base64.b64decode(preview).startswith(b"\x89PNG"), name
            elif isinstance(preview, str):
                assert json.loads(preview), name
            else:
                assert preview["columns"], name
                assert json.dumps(preview, allow_nan=False), name

    def test_a_second_run_computes_the_report_alone_and_leaves_every_byte(
        self, run: Run, first_run: Result, caplog: pytest.LogCaptureFixture
    ) -> None:
        before = digests()
        result = run()
        assert result.exit_code == 0, result.stderr[-2000:]
        computed = [message.split()[0] for message in caplog.messages if " took " in message]
        assert sorted(computed) == ["heads.report.write_model_card", "heads.report.write_report"]
        assert digests() == before
        tracked, first = last_runs(2)
        assert tracked.data.metrics["accuracy"] == first.data.metrics["accuracy"]
        assert tracked.data.metrics.keys() == first.data.metrics.keys()
        assert tracked.data.tags["best_explanation"] == first.data.tags["best_explanation"]
        assert len(tracked.inputs.dataset_inputs) == 1

    @pytest.mark.parametrize("name", HEAVY)
    def test_what_it_depends_on_decides_whether_a_heavy_node_is_computed(
        self, first_run: Result, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        node = next(node for node in pipelines["heads"].nodes if node.name == name)
        with KedroSession.create(Path.cwd(), env="test") as session:
            catalog = session.load_context().catalog
        assert Identities(catalog).change(node) is None
        for entry in node.inputs:
            if entry == "embedding_store":
                continue
            with changed(catalog, entry):
                assert Identities(catalog).change(node) == f"{entry} changed"
        for output in node.outputs:
            with changed(catalog, output):
                found = Identities(catalog).change(node)
                assert found == f"{output} is not what this node wrote last"
        monkeypatch.setattr(incremental, "code_version", lambda node: "another")
        assert Identities(catalog).change(node) == "code changed"

    def test_a_fresh_run_encodes_nothing_and_gives_the_same_bytes(
        self, run: Run, first_run: Result
    ) -> None:
        files = [REPORTING / "metrics.json", Path("data/07_model_output/heads/predictions.parquet")]
        before = [file.read_bytes() for file in files]
        assert run(also="fresh=true").exit_code == 0
        summary = json.loads(Path("data/08_reporting/data/embed_summary.json").read_text())
        assert (summary["embed/encoded"], summary["embed/cached"]) == (0, 600)
        assert [file.read_bytes() for file in files] == before


class TestRobustness:
    def test_it_measures_the_classifier_that_lies_there(self, run: Run, first_run: Result) -> None:
        result = run("--pipelines=robustness")
        assert result.exit_code == 0, result.stderr[-2000:]
        table = pd.read_csv(REPORTING / "robustness.csv")
        classifier = Classifier.load(Path("data/06_models/heads/calibrated"))
        manifest = Manifest(REPORTING / "artefacts.json")
        assert manifest.training(REPORTING / "robustness.csv") == classifier.training_id()
        perturbations = ["clean", "gaussian_noise", "gaussian_blur", "jpeg", "fgsm", "pgd"]
        assert table["perturbation"].unique().tolist() == perturbations
        assert np.isfinite(table.select_dtypes("number")).all(axis=None)
        accuracy = table.groupby("perturbation")["accuracy"].min()
        assert accuracy["pgd"] <= accuracy["fgsm"] < accuracy["clean"]
        assert (REPORTING / "figures" / "robustness.png").is_file()


class TestExport:
    def test_exports_are_the_classifier_that_lies_there(self, run: Run, first_run: Result) -> None:
        result = run("--pipelines=export")
        assert result.exit_code == 0, result.stderr[-2000:]
        measured = json.loads((REPORTING / "export.json").read_text())
        folder = Path("data/06_models/heads/export")
        for name, file in (("onnx", "heads.onnx"), ("program", "heads.pt2")):
            found = measured[name]
            assert (folder / file).stat().st_size == found["bytes"]
            assert found["n"] == 100
            assert found["agreement"] >= 0.999
            assert found["largest_difference"] <= 1e-4
        small = (folder / "heads_int8.onnx").stat().st_size
        assert small == measured["onnx_int8"]["bytes"] < measured["onnx"]["bytes"]
        latency = pd.read_csv(REPORTING / "latency.csv")
        assert latency["batch"].unique().tolist() == [1, 64]
        assert set(latency["runtime"]) == {"pytorch", "onnx", "onnx_int8"}

    def test_onnx_gives_what_the_catalog_has(self, run: Run, first_run: Result) -> None:
        images = ImageTable.open(Path("data/02_intermediate/images.arrow"))
        predictions = pd.read_parquet("data/07_model_output/heads/predictions.parquet")[::40]
        pixels = np.stack([np.asarray(images.pil(row)) for row in predictions.index])
        model = Path("data/06_models/heads/export/heads.onnx").read_bytes()
        found = run_onnx(model)(pixels.transpose(0, 3, 1, 2).copy())
        expected = predictions[[f"probability/{name}" for name in CLASSES]]
        np.testing.assert_allclose(found, expected, atol=1e-4)


class TestPredict:
    def test_samples_give_json_of_the_published_schema(self, first_run: Result) -> None:
        result = predict("src/glasshead/assets/samples", "--json")
        assert result.exit_code == 0, result.stderr
        records = [json.loads(line) for line in result.stdout.splitlines()]
        schema = json.loads((SAMPLES.parent / "prediction.schema.json").read_text())
        for record in records:
            Draft202012Validator(schema).validate(record)
            assert record["abstain"] is not None
            assert len(record["concepts"]) > 5
        assert [Path(record["image"]).stem for record in records] == sorted(CLASSES)
        right = [record["class"] == Path(record["image"]).stem for record in records]
        assert sum(right) >= 5  # 1 by chance

    def test_images_of_the_catalog_give_what_the_catalog_has(
        self, first_run: Result, tmp_path: Path
    ) -> None:
        images = ImageTable.open(Path("data/02_intermediate/images.arrow"))
        predictions = pd.read_parquet("data/07_model_output/heads/predictions.parquet")[::40]
        for row in predictions.index:
            (tmp_path / f"{row:03d}.png").write_bytes(images.encoded(row))
        result = predict(str(tmp_path), "--csv", str(tmp_path / "out.csv"))
        assert result.exit_code == 0, result.stderr
        found = pd.read_csv(tmp_path / "out.csv")
        columns = predictions.filter(regex="^(probability|concept)/").columns
        np.testing.assert_allclose(found[columns], predictions[columns], atol=1e-5)
        assert found["class"].tolist() == predictions["predicted"].tolist()


class TestNotebooks:
    @pytest.mark.parametrize(
        "name",
        [
            "1_first_tour",
            "2_concepts_and_interventions",
            "4_which_explanation",
            "6_own_images_and_taxonomy",
        ],
    )
    def test_its_assertions_hold_on_the_catalog(
        self, first_run: Result, execute_notebook: Callable[[str], None], name: str
    ) -> None:
        execute_notebook(name)


class TestSite:
    def test_it_shows_results_without_a_path_of_this_machine(self, first_run: Result) -> None:
        """What `make viz` does, on the default pipeline alone."""
        load_and_populate_data(Path.cwd(), package_name="glasshead", pipeline_name="__default__")
        LocalDeployer().deploy(is_all_previews_enabled=True)
        clean_site(Path("build"), Path.cwd())
        nodes = [json.loads(path.read_text()) for path in Path("build/api/nodes").iterdir()]
        previews = {node.get("preview_type") for node in nodes if node.get("preview")}
        assert previews == {"ImagePreview", "JSONPreview", "TablePreview"}
        paths = {node["filepath"] for node in nodes if node.get("filepath")}
        assert "data/08_reporting/heads/metrics.json" in paths
        api = [path.read_text() for path in Path("build/api").rglob("*") if path.is_file()]
        assert not any(str(root) in text for text in api for root in (Path.cwd(), ROOT))
        assert "fonts.g" not in Path("build/index.html").read_text()


class TestPipelines:
    @pytest.mark.parametrize(
        "name",
        [
            *("ingest", "preprocess", "embed", "train_heads"),
            *("calibrate", "evaluate", "explain"),
        ],
    )
    def test_each_stage_runs_by_itself(self, run: Run, first_run: Result, name: str) -> None:
        result = run(f"--pipelines={name}")
        assert result.exit_code == 0, result.stderr[-2000:]

    def test_pretrain_leaves_a_backbone_that_the_corridor_takes(
        self, run: Run, first_run: Result
    ) -> None:
        shipped = ROOT / "src/glasshead/assets/nano-clip/model.safetensors"
        before = shipped.stat().st_mtime_ns
        assert run("--pipelines=pretrain").exit_code == 0
        assert shipped.stat().st_mtime_ns == before
        own = "--params=backbone.name=data/06_models/nano-clip"
        assert "resolved the image processor" in run("--pipelines=embed", own).stderr
        for options in ([own], []):
            for stage in ("preprocess", "embed"):
                assert run(f"--pipelines={stage}", *options).exit_code == 0

    def test_results_of_another_data_set_are_not_mixed_with_these(
        self, run: Run, first_run: Result
    ) -> None:
        """With another seed, scenes have the same ids, but other images."""
        assert run("--pipelines=ingest", "--params=seed=1").exit_code == 0
        for stage, again in (("embed", "preprocess"), ("explain", "preprocess")):
            result = run(f"--pipelines={stage}")
            assert result.exit_code == 1
            assert f"Run `kedro run --pipelines={again}`" in result.stderr
        assert run("--pipelines=preprocess").exit_code == 0
        assert "was trained on other images" in run("--pipelines=robustness").stderr
        assert "Run `kedro run --pipelines=embed`" in run("--pipelines=train_heads").stderr
        assert run("--pipelines=train_heads", "--params=seed=2").exit_code == 1
        assert run("--to-nodes=heads.train.predict_baselines").exit_code == 0
        assert run("--pipelines=train_heads", "--params=seed=2").exit_code == 0
        mixed = run("--pipelines=evaluate").stderr
        assert "heads.predictions and heads.logits come from different trainings" in mixed
        assert run("--pipelines=calibrate").exit_code == 0
        assert run("--pipelines=evaluate").exit_code == 0

    def test_a_failed_gate_saves_everything_and_can_be_resumed(
        self, run: Run, first_run: Result
    ) -> None:
        (REPORTING / "metrics.json").unlink()
        result = run("--pipelines=evaluate", "--params=evaluate.minimum_accuracy=1.0")
        assert result.exit_code == 1
        assert "below evaluate.minimum_accuracy" in result.stderr
        assert "Traceback" not in result.stderr
        assert read_metrics()
        assert last_runs()[0].info.status == "FAILED"
        again = run("--pipelines=evaluate", "--from-nodes=heads.check_gate")
        assert again.exit_code == 0, again.stderr[-2000:]

    @pytest.mark.parametrize("mode", ["sequential", "independent"])
    def test_other_ways_of_training(self, run: Run, first_run: Result, mode: str) -> None:
        assert (
            run("--pipelines=train_heads", f"--params=train_heads.training.mode={mode}").exit_code
            == 0
        )
        log = pd.read_csv(REPORTING / "audit_log.csv")
        assert log["phase"].unique().tolist() == ["heads", "meta"]

    def test_the_seed_taxonomy_compares_with_the_default(self, run: Run, first_run: Result) -> None:
        given = {"NAME": "seed"}
        assert run("--params=preprocess.taxonomy=NAME", given=given).exit_code == 0
        assert "subtask/color_class/accuracy" in read_metrics()
        assert last_runs()[0].data.tags["taxonomy"] == "seed"


class TestCNN:
    def test_it_leaves_every_result_without_looking_for_clip(self, cnn_run: Result) -> None:
        assert cnn_run.exit_code == 0, cnn_run.stderr[-2000:]
        assert all((CNN_REPORTING / "figures" / f"{name}.png").is_file() for name in FIGURES)
        assert not (CNN_REPORTING / "figures" / "shapley_global.png").exists()
        described = json.loads(Path("data/06_models/cnn/calibrated/classifier.json").read_text())
        assert (described["kind"], described["input_size"]) == ("cnn", 32)

    def test_metrics_are_those_of_any_classifier_and_of_views_apart(self, cnn_run: Result) -> None:
        metrics = read_metrics(CNN_REPORTING)
        assert set(metrics) == METRICS | {"accuracy_tta"}
        assert metrics["accuracy"]["low"] > metrics["accuracy_majority"]["high"]

    def test_report_and_card_hold_every_metric(self, cnn_run: Result) -> None:
        check_documents(CNN_REPORTING)
        assert (
            "It reads pixels, so there is no linear probe"
            in (CNN_REPORTING / "report.html").read_text()
        )

    def test_explanations_are_of_pixels(self, cnn_run: Result) -> None:
        explained = json.loads((CNN_REPORTING / "explanations.json").read_text())
        assert {"integrated_gradients", "grad_cam", "edge_detector"} <= set(explained)
        assert "attention_rollout" not in explained  # not applicable
        assert explained["edge_detector"]["randomisation"]["value"] == pytest.approx(1)
        assert explained["grad_cam"]["pointing_game"]["value"] is not None

    def test_curves_are_tracked_by_epoch_and_by_step(self, cnn_run: Result) -> None:
        (tracked,) = last_runs()
        client = mlflow.MlflowClient()
        lengths = {
            name: len(client.get_metric_history(tracked.info.run_id, name))
            for name in ("audit_log/validation_accuracy", "step_log/gradient_norm")
        }
        epochs = len(pd.read_csv(CNN_REPORTING / "audit_log.csv"))
        steps = SPLITS["train"] // int(tracked.data.params["train_cnn.training.batch_size"])
        assert list(lengths.values()) == [epochs, epochs * steps]
        assert "backbone" not in tracked.data.tags

    def test_a_second_run_trains_nothing_and_gives_the_same_bytes(
        self, run: Run, cnn_run: Result
    ) -> None:
        files = [
            CNN_REPORTING / "audit_log.csv",  # with the seconds that the training took
            CNN_REPORTING / "metrics.json",
            Path("data/07_model_output/cnn/predictions.parquet"),
            Path("data/06_models/cnn/calibrated/model.safetensors"),
        ]
        before = [file.read_bytes() for file in files]
        assert run("--pipelines=cnn").exit_code == 0
        assert [file.read_bytes() for file in files] == before

    def test_its_report_is_written_again(self, run: Run, cnn_run: Result) -> None:
        before = (CNN_REPORTING / "summary.json").read_bytes()
        assert run("--pipelines=cnn_report").exit_code == 0
        assert (CNN_REPORTING / "summary.json").read_bytes() == before

    def test_it_is_compared_with_heads(self, run: Run, first_run: Result, cnn_run: Result) -> None:
        result = run("--pipelines=report_comparison")
        assert result.exit_code == 0, result.stderr[-2000:]
        page = Path("data/08_reporting/comparison/report.html").read_text()
        assert "kedro run --pipelines=transfer" in page
        assert page.count('data-answer="') == 8


class TestAblation:
    def test_every_row_of_the_table_is_filled_by_runs(self, ablation_run: Result) -> None:
        assert ablation_run.exit_code == 0, ablation_run.stderr[-2000:]
        folder = Path("data/08_reporting/cnn_ablation")
        table = pd.read_csv(folder / "ablation.csv", index_col="augmentation")
        assert table.index.tolist() == list(PRESETS)
        assert (table["seeds"] == 3).all()
        numbers = table[["accuracy", "low", "high", "nll", "ece", "seconds"]]
        assert np.isfinite(numbers).all(axis=None)
        assert table["verdict"].drop("baseline").notna().all()
        assert (folder / "figures" / "ablation.png").is_file()

    def test_every_variant_is_a_child_run_with_its_metrics(self, ablation_run: Result) -> None:
        runs = last_runs(len(VARIANTS) + 1)
        parent = next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)
        children = {run.data.tags["variant"]: run for run in runs if run is not parent}
        measured = pd.read_csv("data/08_reporting/cnn_ablation/runs.csv")
        assert set(children) == {name_of(variant) for variant in VARIANTS}
        assert {run.info.status for run in runs} == {"FINISHED"}
        for variant, row in zip(VARIANTS, measured.to_dict("records"), strict=True):
            child = children[name_of(variant)]
            assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
            assert child.data.tags["classifier"] == f"cnn_ablation.{name_of(variant)}"
            for name in ("accuracy", "nll", "ece"):
                assert child.data.metrics[name] == row[name]
            assert {"audit_log/train_loss", "step_log/loss"} <= child.data.metrics.keys()
        assert not {"accuracy", "step_log/loss"} & parent.data.metrics.keys()

    def test_a_second_run_trains_nothing_and_gives_the_same_bytes(
        self, run: Run, ablation_run: Result, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ablation_nodes, "VARIANTS", VARIANTS[:6])  # none and baseline
        folder = Path("data/08_reporting/cnn_ablation")
        before = pd.read_csv(folder / "runs.csv")
        assert run("--pipelines=cnn_ablation").exit_code == 0
        pd.testing.assert_frame_equal(pd.read_csv(folder / "runs.csv"), before[:6])  # with seconds

    def test_a_failure_spares_no_variant_that_lacks_results(
        self, run: Run, ablation_run: Result, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fit, calls = ablation_nodes.fit_cnn, iter(range(1))

        def break_second(*args: object, **kwargs: object) -> object:
            if next(calls, None) is None:
                raise ZeroDivisionError
            return fit(*args, **kwargs)

        monkeypatch.setattr(ablation_nodes, "fit_cnn", break_second)
        assert run("--pipelines=cnn_ablation").exit_code == 1
        runs = last_runs(3)
        assert [entry.data.tags.get("variant") for entry in runs] == ["none_1", "none_0", None]
        assert "mlflow.parentRunId" not in runs[2].data.tags
        assert {entry.info.status for entry in runs} == {"FAILED"}

    def test_what_it_compares_is_no_parameter(self, run: Run, ablation_run: Result) -> None:
        result = run("--pipelines=cnn_ablation", "--params=cnn_ablation.augmentation=none")
        assert "Remove `augmentation` from `cnn_ablation`" in result.stderr
        (last,) = last_runs()
        assert last.info.status == "FAILED"
        assert "mlflow.parentRunId" not in last.data.tags


class TestRealThing:
    """`--env cifar10` up to the network: CIFAR-10 in torchvision's format, and an untrained ViT-B/32 in a folder."""

    @pytest.fixture
    def backbone(self, tmp_path: Path) -> Path:
        torch.manual_seed(0)
        config = CLIPConfig(text_config={"num_hidden_layers": 1, "vocab_size": 100})
        CLIPModel(config).save_pretrained(tmp_path / "clip")
        CLIPImageProcessor().save_pretrained(tmp_path / "clip")
        return tmp_path / "clip"

    def test_the_whole_corridor_on_local_stand_ins(
        self, run: Run, backbone: Path, tmp_path: Path, write_cifar10: Callable[..., Path]
    ) -> None:
        folder = write_cifar10(tmp_path / "cifar10", [*range(10)] * 2)
        small = {
            "backbone.name": backbone,
            "ingest.cifar10.folder": folder,
            "evaluate.minimum_accuracy": 0,
            "explain.images": 2,
            "explain.budget.steps": 2,
            "explain.budget.samples": 2,
            "explain.budget.patch": 112,
            "explain.budget.stride": 112,
            "explain.evaluation.images": 1,
            "explain.evaluation.deletion_steps": 2,
            "explain.evaluation.infidelity_samples": 2,
            "explain.evaluation.sensitivity_images": 0,
            "explain.background": 10,
            "train_heads.training.epochs": 5,
        }
        options = ",".join(f"{name}={value}" for name, value in small.items())
        result = run("--env", "cifar10", also=options)
        assert result.exit_code == 0, result.stderr[-2000:]
        described = json.loads(Path("data/06_models/heads/calibrated/classifier.json").read_text())
        assert described["input_size"] == 224
        assert described["provenance"]["backbone"] == str(backbone)
        assert described["provenance"]["backbone_revision"] is None
        summary = json.loads(Path("data/08_reporting/data/embed_summary.json").read_text())
        assert (summary["embed/encoded"], summary["embed/shape"]) == (120, [512])
        predictions = pd.read_parquet("data/07_model_output/heads/predictions.parquet")
        assert predictions.groupby("split").size()["test"] == 20
        assert last_runs()[0].data.tags["env"] == "cifar10"


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("ingest.source=folder", "image_folder"),
            ("ingest.source=parquet,ingest.parquet.path=nowhere", "nowhere does not exist"),
            (
                "ingest.source=image_folder,ingest.image_folder.path=memory://nowhere",
                "memory://nowhere or something in it does not exist",
            ),
            ("ingest.scenes.trian=100", "There is no parameter ingest.scenes.trian."),
            ("preprocess.taxonomy=animals", "There is no taxonomy 'animals'"),
            ("backbone.name=./nowhere", "There is no backbone folder"),
            ("backbone.name=data", "has no configuration"),
            ("backbnoe.name=nano-clip", "Did you mean backbone?"),
        ],
    )
    def test_one_message(self, run: Run, options: str, message: str) -> None:
        result = run(f"--params={options}")
        assert result.exit_code == 1
        assert message in result.stderr
        assert "Traceback" not in result.stderr

    def test_one_class_only(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "cat").mkdir()
        for index in range(20):
            Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / "cat" / f"{index}.png")
        result = run(f"--params=ingest.source=image_folder,ingest.image_folder.path={tmp_path}")
        assert result.exit_code == 1
        assert "class" in result.stderr.splitlines()[-1]
        assert "Traceback" not in result.stderr


class TestOwnImages:
    """The how-tos' folder and taxonomy, after which nothing of the runs above is left."""

    def test_a_folder_and_a_taxonomy_make_a_classifier(
        self, run: Run, first_run: Result, tmp_path: Path
    ) -> None:
        images = ImageTable.open(Path("data/02_intermediate/images.arrow"))
        names = {"automobile": "car", "truck": "bus", "horse": "horse", "ship": "ship"}
        for row, label in images.frame()["label"].items():
            if label in names:
                folder = tmp_path / names[label]
                folder.mkdir(exist_ok=True)
                (folder / f"{row} ü.png").write_bytes(images.encoded(row))
        page = (ROOT / "docs/how-to/own-taxonomy.md").read_text()
        block = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[0]
        Path("conf/base/taxonomies/mine.yml").write_text(block)
        result = run(
            "--params=ingest.source=image_folder,ingest.image_folder.path=DIR,preprocess.taxonomy=NAME",
            given={"DIR": tmp_path, "NAME": "mine"},
            to="heads.metrics,heads.classifier",
        )
        assert result.exit_code == 0, result.stderr[-2000:]
        assert {f"subtask/{name}/accuracy" for name in yaml.safe_load(block)["subtasks"]} <= set(
            read_metrics()
        )
        described = json.loads(Path("data/06_models/heads/calibrated/classifier.json").read_text())
        assert described["classes"] == ["bus", "car", "horse", "ship"]
