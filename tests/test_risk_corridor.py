"""`kedro run --pipelines=risk` and its ablation in the `test` environment."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from click.testing import Result

from glasshead.images.table import ImageTable
from glasshead.models.classifier import Classifier
from glasshead.reporting.page import plain

Run = Callable[..., Result]
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
        scores = pd.read_parquet("data/07_model_output/risk/scores.parquet")
        assert scores["probability/automobile+truck"].between(0, 1).all()
        auditor = Classifier.load(Path("data/06_models/risk/calibrated"))
        assert auditor.classes == ("automobile+truck",)

    def test_the_report_and_the_card_hold_every_metric(self, risk_run: Result) -> None:
        report = (REPORTING / "report.html").read_text()
        rows = (REPORTING / "model_card.md").read_text().splitlines()
        metrics = json.loads((REPORTING / "metrics.json").read_text())
        assert sorted(re.findall(r'data-metric="([^"]+)"', report)) == sorted(metrics)
        assert {f"| {plain(name)} " for name in metrics} <= {row.rsplit("|", 4)[0] for row in rows}

    def test_they_name_the_data_they_are_of(self, risk_run: Result) -> None:
        digest = ImageTable.open(Path("data/02_intermediate/images.arrow")).digest()
        summary = json.loads((REPORTING / "summary.json").read_text())
        assert summary["classifier"]["provenance"]["data"] == digest
        for document in ("report.html", "model_card.md"):
            assert digest in (REPORTING / document).read_text()

    def test_it_says_where_the_features_come_from(self, risk_run: Result) -> None:
        summary = json.loads(Path("data/04_feature/risk/embed_summary.json").read_text())
        assert summary["features/from"] == "store"
        assert summary["features/why"].startswith("600 × 64 × 128 in float16 take 9 MB, within")

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


class TestNotebooks:
    def test_its_assertions_hold_on_the_catalog(
        self, risk_run: Result, execute_notebook: Callable[[str], None]
    ) -> None:
        execute_notebook("5_risk_auditor")
