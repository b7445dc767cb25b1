"""The page and the card on a risk auditor: what they hold, whoever named the risks."""

import re
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from glasshead.pipeline_registry import register_pipelines
from glasshead.reporting.card import model_card
from glasshead.reporting.page import escaped
from glasshead.reporting.report import FIGURES, report_page

LIMIT = 15_000_000
HARM = "<script>alert('risk')</script>"


@pytest.fixture
def write(planted_report):
    def page(**changes):
        return report_page(planted_report.make_risk_subject(**changes), LIMIT)

    return page


@pytest.fixture
def card(planted_report):
    def write(risk="road"):
        subject = planted_report.make_risk_subject(risk)
        findings = [shown.finding for shown in subject.findings]
        given = findings, None, subject.reproduction, "mit", None
        return model_card(subject.summary, subject.metrics, *given)

    return write


def test_every_metric_finding_figure_and_listed_image_is_there(write, planted_report):
    text, subject = write(), planted_report.make_risk_subject()
    assert sorted(re.findall(r'data-metric="([^"]+)"', text)) == sorted(subject.metrics)
    assert text.count('src="data:image') == len(subject.figures)
    assert "A mark decides." in text
    assert all(image_id in text for image_id in subject.to_review["image_id"])


def test_a_figure_that_is_not_listed_is_shown_all_the_same(planted_report):
    subject = planted_report.make_risk_subject()
    page = report_page(
        replace(subject, figures={**subject.figures, "of_a_later_stage": planted_report.png()}),
        LIMIT,
    )
    assert page.count('src="data:image') == len(subject.figures) + 1
    section = page.split('<section id="further">')[1].split("</section>")[0]
    assert "<h2>Further figures</h2>" in section
    assert 'alt="of a later stage"' in section
    assert '<a href="#further">' in page


def test_figures_that_are_absent_leave_no_gap(planted_report):
    subject = planted_report.make_risk_subject()
    few = {name: subject.figures[name] for name in ("curves", "highest")}
    page = report_page(replace(subject, figures=few), LIMIT)
    assert page.count('src="data:image') == 2
    none = report_page(replace(subject, figures={}), LIMIT)
    assert 'src="data:image' not in none
    assert "#maps" not in none


def test_every_figure_of_the_pipeline_has_its_caption():
    pipelines = register_pipelines()
    outputs = pipelines["risk"].all_outputs() | pipelines["heads"].all_outputs()
    plotted = {name.split(".")[-1] for name in outputs if "." in name and name.endswith("_figure")}
    assert {name.removesuffix("_figure") for name in plotted} == {
        name for _, listed in FIGURES.values() for name in listed
    }


def test_links_lead_to_sections_that_are_there(write):
    text = write()
    assert re.findall(r'href="#(\w+)"', text) == re.findall(r'<section id="(\w+)"', text)


def test_it_says_what_it_is_of(write, card):
    for text in (write(), card()):
        assert "d1ge57" in text
        assert "1.75" in text  # the temperature, of the risk


def test_a_hostile_name_is_shown_as_it_is(write, card):
    assert HARM not in write(risk=HARM)
    assert HARM not in card(risk=HARM).split("\n---\n", 1)[1]


def test_the_metadata_of_the_card_hold_every_metric_that_is_defined(card, planted_report):
    results = {each.metric_type: each for each in ModelCard(card()).data.eval_results}
    metrics = planted_report.make_risk_metrics()
    assert {name: each.metric_value for name, each in results.items()} == {
        name: each["value"] for name, each in metrics.items()
    }
    assert {each.dataset_revision for each in results.values()} == {"d1ge57"}


def test_every_sentence_on_failure_cites_what_it_rests_on(card):
    text = card()
    for title in ("Limitations", "Failure modes"):
        section = text.split(f"## {title}\n")[1].split("\n## ")[0]
        items = [line for line in section.splitlines() if line.startswith("- ")]
        assert items
        assert all(re.search(r" \[[^\[\]]+\]$", line) for line in items), items


def test_the_card_counts_the_images_with_the_risk(card):
    assert f"- test: 20 with {escaped('road')}" in card()
