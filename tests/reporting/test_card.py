"""The model card, read back by huggingface_hub and by a Markdown parser."""

import re

import pytest
from huggingface_hub import ModelCard

from glasshead.reporting.card import model_card
from glasshead.reporting.page import escaped
from glasshead.reporting.wording import central, interval, number

FINDING = {
    "check": "shortcut",
    "severity": "high",
    "summary": "A mark decides.",
    "evidence": "0.81 of the mass",
    "rows": [],
    "advice": "Remove it.",
    "subject": "risk",
}


@pytest.fixture
def write(planted_report):
    def write(classes=planted_report.CLASSES, **changes):
        subject = planted_report.make_subject(classes)
        given = {
            "summary": subject.summary,
            "metrics": subject.metrics,
            "findings": [FINDING, FINDING | {"severity": "low", "check": "data_bias"}],
            "robustness": "Not run: kedro run --pipelines=robustness.",
            "reproduction": subject.reproduction,
            "licence": "apache-2.0",
            "intended_use": None,
        }
        return model_card(**given | changes)

    return write


def test_the_metadata_hold_every_metric_that_is_defined(write, planted_report):
    card = ModelCard(write())
    metrics = planted_report.make_subject().metrics
    results = {each.metric_type: each for each in card.data.eval_results}
    defined = {name: each for name, each in metrics.items() if each["value"] is not None}
    assert {name: each.metric_value for name, each in results.items()} == {
        name: each["value"] for name, each in defined.items()
    }
    assert results["brier"].metric_args == {
        "low": pytest.approx(0.05),
        "high": pytest.approx(0.07),
        "n": 100,
    }
    assert (card.data.license, card.data.pipeline_tag) == ("apache-2.0", "image-classification")
    assert {each.dataset_split for each in card.data.eval_results} == {"test"}


def test_the_table_holds_every_metric(write, planted_report):
    rows = [line for line in write().splitlines() if line.startswith("| ")]
    for name, found in planted_report.make_subject().metrics.items():
        cells = (escaped(name), central(found), interval(found), number(found["n"]))
        assert f"| {' | '.join(cells)} |" in rows


def test_every_sentence_on_failure_cites_what_it_rests_on(write):
    text = write()
    for title in ("Limitations", "Failure modes"):
        section = text.split(f"## {title}\n")[1].split("\n## ")[0]
        items = [line for line in section.splitlines() if line.startswith("- ")]
        assert len(items) >= 2
        assert all(re.search(r" \[[^\[\]]+\]$", line) for line in items), items
    assert "- high: A mark decides. Remove it. [findings.json of risk: shortcut]" in text


def test_what_is_not_known_is_said(write):
    text = write()
    assert "No other use has been stated" in text
    assert "Not run: kedro run --pipelines=robustness." in text
    assert "Training took 12.5 s on cpu, 2 cores" in text
    assert "Sorting post." in write(intended_use="Sorting post.")


def test_hostile_labels_are_text(write):
    label = "<script>alert(1)</script>\n# heading | `x`"
    text = write(classes=(label, "b" * 400))
    card = ModelCard(text)
    assert card.data.model_name == "heads"
    assert "<script" not in card.text
    assert "\n# heading" not in card.text
    assert "b" * 100 not in card.text


def test_a_thousand_classes_make_no_list_of_a_thousand(write):
    text = write(classes=[f"class {place}" for place in range(1000)])
    assert "1,000 classes" in text
    assert "class 49, …" in text
    assert "class 50" not in text
