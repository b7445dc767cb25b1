"""`kedro run --pipelines=risk` in the `test` environment."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image

from glasshead.__main__ import main
from glasshead.images.scenes import CLASSES
from glasshead.images.table import ImageTable
from glasshead.manifest import Manifest
from glasshead.models.classifier import Classifier
from glasshead.reporting.page import escaped

Run = Callable[..., Result]
ROOT = Path(__file__).parents[1]


def predict(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["predict", *arguments])


REPORTING = Path("data/08_reporting/risk")
FIGURES = (
    "training_history",
    "curves",
    "reliability",
    "localisation",
    "highest",
    "lowest",
    "uncertain",
    "to_review",
)


@pytest.fixture(scope="module")
def risk_run(run: Run) -> Result:
    return run("--pipelines=risk", "--params=risk.risks=automobile+truck")


class TestRisk:
    def test_it_leaves_every_result(self, risk_run: Result) -> None:
        assert risk_run.exit_code == 0, risk_run.stderr[-2000:]
        assert all((REPORTING / "figures" / f"{name}.png").is_file() for name in FIGURES)
        metrics = json.loads((REPORTING / "metrics.json").read_text())
        assert metrics["auroc"]["n"] == 120
        assert isinstance(json.loads((REPORTING / "findings.json").read_text()), list)
        assert len(pd.read_csv(REPORTING / "to_review.csv")) == 20
        scores = pd.read_parquet("data/07_model_output/risk/predictions.parquet")
        assert scores["probability/automobile+truck"].between(0, 1).all()
        auditor = Classifier.load(Path("data/06_models/risk/calibrated"))
        assert auditor.classes == ("automobile+truck",)

    def test_the_report_and_the_card_hold_every_metric(self, risk_run: Result) -> None:
        report = (REPORTING / "report.html").read_text()
        rows = (REPORTING / "model_card.md").read_text().splitlines()
        metrics = json.loads((REPORTING / "metrics.json").read_text())
        assert sorted(re.findall(r'data-metric="([^"]+)"', report)) == sorted(metrics)
        assert {f"| {escaped(name)} " for name in metrics} <= {
            row.rsplit("|", 4)[0] for row in rows
        }

    def test_they_name_the_data_they_are_of(self, risk_run: Result) -> None:
        digest = ImageTable.open(Path("data/02_intermediate/images.arrow")).digest()
        summary = json.loads((REPORTING / "summary.json").read_text())
        assert summary["classifier"]["provenance"]["data"] == digest
        for document in ("report.html", "model_card.md"):
            assert digest in (REPORTING / document).read_text()

    def test_all_that_it_leaves_is_of_one_training(self, risk_run: Result) -> None:
        summary = json.loads((REPORTING / "summary.json").read_text())
        auditor = Classifier.load(Path("data/06_models/risk/calibrated"))
        assert summary["training"] == auditor.training_id()
        manifest = Manifest(REPORTING / "artefacts.json")
        results = ["metrics.json", "findings.json", "summary.json", "report.html", "to_review.csv"]
        results += [f"figures/{name}.png" for name in FIGURES]
        assert {manifest.training(REPORTING / name) for name in results} == {summary["training"]}

    def test_it_says_where_the_features_come_from(self, risk_run: Result) -> None:
        summary = json.loads(Path("data/04_feature/risk/embed_summary.json").read_text())
        assert summary["features/from"] == "store"
        assert summary["features/why"].startswith("600 × 64 × 256 in float16 take 19 MB, within")

    def test_the_run_is_tracked_with_its_curves(self, risk_run: Result) -> None:
        client = mlflow.MlflowClient(f"sqlite:///{Path.cwd()}/mlruns/mlflow.db")
        experiment = client.get_experiment_by_name("glasshead")
        [tracked, *_] = client.search_runs(
            [experiment.experiment_id], order_by=["attributes.start_time DESC"]
        )
        assert tracked.info.status == "FINISHED"
        metrics = json.loads((REPORTING / "metrics.json").read_text())
        assert tracked.data.metrics["auroc"] == metrics["auroc"]["value"]
        assert "audit_log/validation_gap" in tracked.data.metrics

    def test_its_exports_are_the_auditor(self, run: Run, risk_run: Result) -> None:
        assert run("--pipelines=risk_export").exit_code == 0
        exported = json.loads((REPORTING / "export.json").read_text())
        assert exported["onnx"]["agreement"] == exported["program"]["agreement"] == 1
        metrics = json.loads((REPORTING / "metrics.json").read_text())
        own = exported["classifier"]["accuracy"]
        assert own["n"] == 100
        assert abs(own["value"] - metrics["accuracy"]["value"]) < 0.05

    def test_it_predicts_labels(self, risk_run: Result) -> None:
        done = predict("src/glasshead/assets/samples", "--classifier", "risk")
        assert done.exit_code == 0, done.output
        lines = done.stdout.splitlines()
        assert len(lines) == 10
        assert all(
            re.search(r"\t(no label|automobile\+truck)\tautomobile\+truck \d", x) for x in lines
        )


class TestNotebooks:
    def test_its_assertions_hold_on_the_catalog(
        self, risk_run: Result, execute_notebook: Callable[[str], None]
    ) -> None:
        execute_notebook("5_risk_auditor")


class TestBadInput:
    """One message that says what to do, and no result of an earlier run touched."""

    @pytest.fixture
    def fails(self, run: Run, risk_run: Result) -> Callable[..., None]:
        def check(message: str, **params: str) -> None:
            before = (REPORTING / "metrics.json").read_bytes()
            given = ",".join(f"{name}={value}" for name, value in params.items())
            result = run("--pipelines=risk", f"--params={given}" if given else "--params=seed=0")
            assert result.exit_code == 1
            assert re.search(message, result.stderr.splitlines()[-1])
            assert "Traceback" not in result.stderr
            assert (REPORTING / "metrics.json").read_bytes() == before

        return check

    @pytest.mark.parametrize(
        ("risk", "message"),
        [
            ("lorry", "'lorry', which the data does not have. Known: airplane, automobile"),
            ("+".join(CLASSES), "All of the 380 train images have the risk"),
        ],
    )
    def test_classes(self, fails: Callable[..., None], risk: str, message: str) -> None:
        fails(message, **{"risk.risks": risk})

    @pytest.mark.parametrize(
        ("risks", "message"),
        [
            (["truck", "truck"], "a name stands twice among truck, truck"),
            (
                [{"name": "dark", "column": "light", "values": ["night"]}],
                "the column 'light', which the data does not have. Known: colour, habitat",
            ),
        ],
    )
    def test_risks_in_the_configuration(
        self, fails: Callable[..., None], risks: list[Any], message: str
    ) -> None:
        path = Path("conf/test/parameters_risk.yml")
        before = path.read_text()
        try:
            path.write_text(yaml.safe_dump({"risk": {"risks": risks}}))
            fails(message)
        finally:
            path.write_text(before)

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (["scratch/1"], "usable images of 1 class only"),
            (
                [f"{label}/{place}" for label in ("fine", "scratch") for place in range(8)],
                "Every class needs rows in train and in calibration.*four different ones each",
            ),
        ],
        ids=["one image", "all the same"],
    )
    def test_images(
        self, fails: Callable[..., None], tmp_path: Path, names: list[str], message: str
    ) -> None:
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            Image.new("RGB", (32, 32)).save(tmp_path / f"{name}.png")
        fails(
            message,
            **{
                "ingest.source": "image_folder",
                "ingest.image_folder.path": str(tmp_path),
                "preprocess.taxonomy": "classes",
                "risk.risks": "scratch",
            },
        )


class TestPlantedMark:
    """The last of this file: its results lie where those of the other tests lay."""

    def test_the_command_of_the_guide_makes_a_check_speak(self, run: Run) -> None:
        result = run(
            "--pipelines=risk",
            "--params=risk.risks=truck,ingest.scenes.defects.shortcut.train_rate=0.9,ingest.scenes.defects.shortcut.test_rate=0.9",
            also="ingest.scenes.train=2160,ingest.scenes.test=240",  # fewer seldom teach the mark
        )
        assert result.exit_code == 0, result.stderr[-2000:]
        findings = json.loads((REPORTING / "findings.json").read_text())
        [found] = [each for each in findings if each["check"] == "planted_mark"]
        assert found["severity"] == "high"
        assert found["evidence"]["accuracy_drop"]["low"] > 0
        assert found["evidence"]["accuracy_drop_beyond_elsewhere"]["low"] > 0
        assert found["summary"].startswith("'truck' rests on a planted mark")
