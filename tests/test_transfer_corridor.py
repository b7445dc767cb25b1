"""Transfer learning, its comparison and ensembles in the `test` environment, by the commands of the README."""

import json
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from torchvision.models import ResNet18_Weights

from glasshead.models.classifier import Classifier
from glasshead.models.variants import name_of
from glasshead.pipelines.train_transfer.comparison_nodes import RECIPES, STRATEGIES, VARIANTS

Run = Callable[..., Result]
REPORTING = Path("data/08_reporting")


@pytest.fixture(scope="module")
def transfer_run(run: Run) -> Result:
    return run("--pipelines=transfer")


@pytest.fixture(scope="module")
def cnn_run(run: Run) -> Result:
    return run("--pipelines=cnn")


@pytest.fixture(scope="module")
def comparison_run(run: Run) -> Result:
    return run("--pipelines=transfer_comparison")


def accuracy(name: str) -> float:
    metrics = json.loads((REPORTING / name / "metrics.json").read_text())
    return float(metrics["accuracy"]["value"])


def last_runs(count: int) -> list[mlflow.entities.Run]:
    client = mlflow.MlflowClient(f"sqlite:///{Path.cwd()}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("glasshead").experiment_id
    order = ["attributes.start_time DESC"]
    return list(client.search_runs([experiment], order_by=order, max_results=count))


class TestTransfer:
    def test_it_walks_the_corridor_with_a_parent_of_its_own(self, transfer_run: Result) -> None:
        assert transfer_run.exit_code == 0, transfer_run.stderr[-2000:]
        figures = REPORTING / "transfer" / "figures"
        for name in ("training_history", "reliability", "confusion_matrix", "explanation_gallery"):
            assert (figures / f"{name}.png").is_file()
        classifier = Classifier.load(Path("data/06_models/transfer/calibrated"))
        parent = Path("data/06_models/transfer_parents/resnet18/classifier/classifier.json")
        digest = json.loads(parent.read_text())["weights_sha256"]
        assert digest in classifier.provenance["pretrained"]
        explained = json.loads((REPORTING / "transfer" / "explanations.json").read_text())
        assert {"integrated_gradients", "grad_cam", "edge_detector"} <= set(explained)

    def test_a_second_run_trains_nothing_and_gives_the_same_bytes(
        self, run: Run, transfer_run: Result
    ) -> None:
        files = [
            REPORTING / "transfer" / "parent_audit_log.csv",  # with the seconds that training took
            REPORTING / "transfer" / "audit_log.csv",
            REPORTING / "transfer" / "metrics.json",
            Path("data/06_models/transfer/calibrated/model.safetensors"),
        ]
        before = [file.read_bytes() for file in files]
        assert run("--pipelines=transfer").exit_code == 0
        assert [file.read_bytes() for file in files] == before

    def test_imagenet_without_a_network_is_one_message_with_both_ways_out(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        weights = ResNet18_Weights.DEFAULT
        closed = "http://127.0.0.1:9/" + weights.url.rsplit("/", 1)[-1]
        monkeypatch.setattr(weights.value, "url", closed)
        network = "train_transfer.network.width=1.0,train_transfer.network.pretrained=imagenet"
        result = run("--pipelines=transfer", f"--params={network}")
        assert result.exit_code == 1
        assert "ImageNet weights of resnet18 are not available" in result.stderr
        assert "put the file there. Or set `pretrained` to the folder" in result.stderr
        assert "Traceback" not in result.stderr

    def test_a_folder_without_a_classifier_is_one_message(self, run: Run) -> None:
        folder = "train_transfer.network.pretrained=data/nowhere"
        result = run("--pipelines=transfer", f"--params={folder}")
        assert result.exit_code == 1
        assert "data/nowhere holds no Classifier" in result.stderr
        assert "Traceback" not in result.stderr


class TestEnsemble:
    def test_a_member_that_is_not_trained_is_named(self, run: Run, transfer_run: Result) -> None:
        result = run("--pipelines=ensemble")
        assert result.exit_code == 1
        assert "There is no Classifier 'cnn'" in result.stderr
        assert "which holds transfer" in result.stderr
        assert "Traceback" not in result.stderr

    def test_it_walks_the_corridor_on_what_is_trained(
        self, run: Run, transfer_run: Result, cnn_run: Result
    ) -> None:
        assert cnn_run.exit_code == 0, cnn_run.stderr[-2000:]
        result = run("--pipelines=ensemble")
        assert result.exit_code == 0, result.stderr[-2000:]
        ensemble = Classifier.load(Path("data/06_models/ensemble/calibrated"))
        members = [member.kind for member in ensemble.members]
        assert members == ["cnn", "transfer"]
        predictions = {
            name: pd.read_parquet(f"data/07_model_output/{name}/predictions.parquet")
            for name in ("cnn", "transfer", "ensemble")
        }
        columns = [f"probability/{name}" for name in ensemble.classes]
        parts = [predictions[name][columns].to_numpy() for name in ("cnn", "transfer")]
        logits = pd.read_parquet("data/07_model_output/ensemble/logits.parquet")
        found = logits[[f"logit/{name}" for name in ensemble.classes]].to_numpy()
        np.testing.assert_allclose(np.exp(found), sum(parts) / 2, atol=1e-3)
        assert (REPORTING / "ensemble" / "figures" / "explanation_gallery.png").is_file()
        assert 0 <= accuracy("ensemble") <= 1


class TestNotebook:
    def test_its_assertions_hold_on_the_catalog(
        self, transfer_run: Result, cnn_run: Result, execute_notebook: Callable[[str], None]
    ) -> None:
        execute_notebook("3_scratch_and_transfer")


class TestComparison:
    def test_every_row_of_both_tables_is_filled_by_runs(self, comparison_run: Result) -> None:
        assert comparison_run.exit_code == 0, comparison_run.stderr[-2000:]
        folder = REPORTING / "transfer_comparison"
        table = pd.read_csv(folder / "comparison.csv")
        recipes = set(map(tuple, RECIPES))
        keys = ["architecture", "strategy", "interpolation"]
        assert set(table[keys].itertuples(index=False, name=None)) == recipes
        assert (table["seeds"] == 3).all()
        filled = table[["accuracy", "low", "high", "nll", "ece", "images_seen", "seconds"]]
        assert np.isfinite(filled).all(axis=None)
        assert table["verdict"].notna().sum() == len(recipes) - 1
        study = pd.read_csv(folder / "interpolation.csv", index_col="interpolation")
        fraction = study["high_frequency_fraction"]
        assert fraction["bilinear"] < fraction["bicubic"] < fraction["none"]
        for name in ("comparison", "interpolation"):
            assert (folder / "figures" / f"{name}.png").is_file()

    def test_every_variant_is_a_child_run_with_its_metrics(self, comparison_run: Result) -> None:
        runs = last_runs(len(VARIANTS) + len(STRATEGIES) + 1)
        whole = next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)
        children = {run.data.tags["variant"]: run for run in runs if run is not whole}
        parents = {f"parent_{architecture}" for architecture in STRATEGIES}
        assert set(children) == {name_of(variant) for variant in VARIANTS} | parents
        assert {run.info.status for run in runs} == {"FINISHED"}
        assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {
            whole.info.run_id
        }
        measured = pd.read_csv(REPORTING / "transfer_comparison" / "runs.csv")
        for variant, accuracy in zip(VARIANTS, measured["accuracy"], strict=True):
            child = children[name_of(variant)]
            assert child.data.tags["classifier"] == f"transfer_comparison.{name_of(variant)}"
            assert child.data.metrics["accuracy"] == accuracy
            assert "audit_log/validation_accuracy" in child.data.metrics
        for parent in parents:
            assert "parent_audit_log/validation_accuracy" in children[parent].data.metrics
