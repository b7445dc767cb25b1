"""The page on a classifier, parsed: what it holds, and that nothing in it can do harm."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from glasshead.errors import ArtifactError
from glasshead.reporting.findings import ShownFinding, ShownImage, sorted_findings
from glasshead.reporting.report import OtherResults, report_page

LIMIT = 15_000_000
HOSTILE = [
    "<script>alert('label')</script>",
    '"><img src=x onerror=alert(1)>',
    "http://example.com/evil.png",
    "javascript:alert(1)",
    "{{ 7 * 7 }}",
    "x" * 500,
    "\u202e日本語\n🚗",
]


class Parsed(HTMLParser):
    """A page's elements as (tag, attributes), its text, and its scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.parts: list[str] = []
        self.inline: dict[str, list[str]] = {"script": [], "style": []}
        self.inside = ""
        self.feed(page)
        self.text = " ".join(" ".join(self.parts).split())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        self.inline.get(self.inside, self.parts).append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def subject(planted_report):
    return planted_report.make_subject()


@pytest.fixture(scope="module")
def parsed(subject):
    return Parsed(report_page(subject, LIMIT))


def test_verdicts_come_first_with_rule_and_numbers(parsed):
    assert [each["data-answer"] for each in parsed.all("article")] == [
        "yes",
        "no",
        "yes",
        "unresolved",
    ]
    first = [each["id"] for each in parsed.all("section")][:3]
    assert first == ["verdicts", "findings", "metrics"]
    assert "ece_consistency_95: 0.02" in parsed.text
    assert "at most ece_consistency_95, else no" in parsed.text


def test_every_metric_stands_there_with_its_interval_and_count(subject, parsed):
    shown = [each["data-metric"] for each in parsed.all("tr") if "data-metric" in each]
    assert sorted(shown) == sorted(subject.metrics)
    sorts = {each.get("data-sort") for each in parsed.all("td")}
    for name, found in subject.metrics.items():
        assert found["value"] is None or str(found["value"]) in sorts, name
    assert "macro_f1 undefined" in parsed.text
    assert "temperature 1.23 50" in parsed.text
    assert "brier 0.060 0.050 to 0.070 100" in parsed.text


def test_figures_are_inside_and_so_are_those_nobody_has_described(parsed):
    images = parsed.all("img")
    assert all(each["src"].startswith("data:") and "alt" in each for each in images)
    assert "of a later stage" in {each["alt"] for each in images}
    assert {"#further", "#concepts", "#calibration"} <= {each["href"] for each in parsed.all("a")}


def test_links_lead_to_sections_that_are_there(parsed):
    sections = {each["id"] for each in parsed.all("section")}
    assert {each["href"] for each in parsed.all("a")} == {f"#{name}" for name in sections}


def test_the_gallery_shows_calibrated_confidence(parsed):
    assert [each["value"] for each in parsed.all("meter")] == ["0.66", "0.97"]
    assert "✗ dog , truly cat 0.66" in parsed.text


def test_provenance_is_of_this_classifier_alone(parsed):
    assert "d1ge57" in parsed.text
    assert "heads.train.fit_heads 12.5 cpu, 2 cores c0ffee kedro run" in parsed.text
    assert "ingest.read_images 3.5" in parsed.text
    assert "cnn.train.fit_cnn" not in parsed.text
    assert "seed=99" not in parsed.text  # an earlier run's report
    assert "git checkout c0ffee" in parsed.text
    assert ".venv/bin/kedro run --pipelines=ingest .venv/bin/kedro run" in parsed.text
    assert "Files differed" not in parsed.text


def test_what_has_not_run_is_named(parsed):
    assert "Not run: kedro run --pipelines=robustness." in parsed.text
    assert "Not run: kedro run --pipelines=risk." in parsed.text
    assert "Checks of this classifier: not run." in parsed.text


def test_what_has_run_is_shown(planted_report):
    table = pd.DataFrame(
        {
            "perturbation": ["clean", "jpeg", "jpeg"],
            "strength": [0.0, 50.0, 5.0],
            "unit": [None, "quality", "quality"],
            "accuracy": [0.9, 0.8, 0.4],
            "low": [0.8, 0.7, 0.3],
            "high": [0.95, 0.9, 0.5],
            "difference": [0.0, -0.1, -0.5],
            "confidence": [0.9, 0.9, 0.85],
            "n": 30,
        }
    )
    robustness = OtherResults({"robustness": planted_report.png()}, table=table)
    risk = OtherResults(
        {"risk_gallery": planted_report.png()}, {"auroc": planted_report.estimate(0.98)}
    )
    finding = {
        "check": "shortcut",
        "severity": "high",
        "summary": "A mark decides.",
        "evidence": {"fraction": 0.81, "drop": planted_report.estimate(0.5, 0.25)},
        "rows": [f"train/{row}" for row in range(20)],
        "advice": "Remove the mark.",
    }
    listed = sorted_findings({"risk": [finding | {"severity": "low"}, finding], "the data": None})
    findings = [ShownFinding(each, [ShownImage("train/0")]) for each in listed]
    changes = {"robustness": robustness, "risk": risk, "findings": findings}
    parsed = Parsed(report_page(planted_report.make_subject(**changes), LIMIT))
    assert (
        "Under jpeg of 5 (quality), the worst measured, its accuracy is 0.40 (0.30 to 0.50), -0.50 from that on the "
        "same 30 images unchanged, at a mean confidence of 0.85." in parsed.text
    )
    assert "auroc" in [each.get("data-metric") for each in parsed.all("tr")]
    assert {"robustness", "risk gallery"} <= {each["alt"] for each in parsed.all("img")}
    high, low = (parsed.text.index(f"{severity}: shortcut of risk") for severity in ("high", "low"))
    assert high < low
    assert "What to do: Remove the mark." in parsed.text
    assert "fraction : 0.81" in parsed.text.replace("fraction:", "fraction :")
    assert "0.50 (0.25 to 0.75)" in parsed.text


@pytest.mark.parametrize("broken", [{"check": "x"}, "text", {"severity": "fatal"}])
def test_findings_of_another_form_are_refused(broken):
    whole = dict.fromkeys(("check", "summary", "evidence", "rows", "advice"), "")
    finding = whole | broken if isinstance(broken, dict) and "severity" in broken else broken
    with pytest.raises(ArtifactError, match="A finding on risk"):
        sorted_findings({"risk": [finding]})


@pytest.fixture(scope="module")
def harmful_page(planted_report):
    classes = [f"{label} {place}" for place, label in enumerate(HOSTILE)]
    subject = planted_report.make_subject(
        classes,
        name=HOSTILE[0],
        image_id=f"train/{HOSTILE[1]}",
        checks=[*HOSTILE, "lone \udc80 surrogate"],
    )
    return report_page(subject, LIMIT)


class TestHarm:
    """FAULTS rows 13 and 33."""

    def test_no_label_becomes_an_element(self, harmful_page):
        parsed = Parsed(harmful_page)
        assert len(parsed.all("script")) == len(parsed.all("style")) == 1
        assert not [name for _, found in parsed.elements for name in found if name.startswith("on")]
        assert {each["alt"] is not None for each in parsed.all("img")} == {True}
        assert "<script>alert('label')</script>" in parsed.text
        assert "{{ 7 * 7 }}" in parsed.text
        harmful_page.encode()

    def test_nothing_outside_is_named_where_a_browser_would_load_it(self, harmful_page):
        loading = ("src", "href", "action", "data", "poster", "srcset", "background", "style")
        for tag, found in Parsed(harmful_page).elements:
            for name in loading:
                target = found.get(name) or "#"
                assert target.startswith(("#", "data:")), (tag, name, target)
        style = "".join(Parsed(harmful_page).inline["style"])
        assert "url(" not in style
        assert "@import" not in style

    def test_the_policy_allows_this_script_alone(self, harmful_page):
        parsed = Parsed(harmful_page)
        (policy,) = [each["content"] for each in parsed.all("meta") if "http-equiv" in each]
        assert policy.startswith("default-src 'none'; img-src data:;")
        for tag in ("script", "style"):
            code = "".join(parsed.inline[tag]).encode()
            digest = base64.b64encode(hashlib.sha256(code).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policy


def test_a_thousand_classes_and_figures_of_noise_stay_under_the_limit(planted_report):
    classes = [f"class {place} " + "x" * 300 for place in range(1000)]
    figures = {f"figure_{seed}": planted_report.png(900, seed) for seed in range(2)}
    pairs = pd.concat([planted_report.make_tables(classes)["confused_pairs"]] * 999)
    subject = planted_report.make_subject(classes, figures=figures, confused_pairs=pairs)
    assert len(report_page(subject, 4_000_000).encode()) <= 4_000_000


def test_two_runs_differ_in_wall_clock_alone(planted_report):
    """But for the record of the run, the same results give the same bytes."""
    pages = [
        report_page(planted_report.make_subject(reproduction=each), LIMIT)
        for seconds in (12.5, 13.5)
        for each in [
            planted_report.reproduction(
                "heads",
                {
                    "heads.train.fit_heads": planted_report.RECORD["heads.train.fit_heads"]
                    | {"seconds": seconds}
                },
            )
        ]
    ]
    assert pages[0] != pages[1]
    first, second = (
        re.sub(r'(?s)<section id="provenance">.*?</section>', "", each) for each in pages
    )
    assert first == second


def test_seconds_and_pixels_of_the_gallery_are_those_given(planted_report):
    pixels = np.zeros((3, 3, 8, 8), np.uint8)
    pixels[1] = 255
    page = report_page(planted_report.make_subject(pixels=pixels), LIMIT)
    sources = re.findall(r'alt="test image of [^>]*src="data:image/png;base64,([^"]*)"', page)
    assert len(sources) == len(set(sources)) == 2
