import re

import pytest

from glasshead.reporting.comparison_report import Compared, best, comparison_page


@pytest.fixture
def compared(planted_report):
    """Return a function that makes a classifier with this accuracy."""

    def make(name, accuracy):
        metrics = planted_report.make_metrics() | {"accuracy": planted_report.estimate(accuracy)}
        summary = planted_report.make_summary(name, metrics=metrics)
        return Compared(summary, metrics, [], {"reliability": planted_report.png()})

    return make


@pytest.mark.parametrize(
    ("accuracies", "winner"),
    [
        ((0.95, 0.90), "a"),
        ((0.90, 0.95), "b"),
        ((0.95, 0.94), "unresolved"),
        ((0.95, 0.90, 0.96), "unresolved"),
        ((0.95,), None),
        ((0.95, None), "unresolved"),
    ],
)
def test_the_best_is_beyond_all_others(planted_report, accuracies, winner):
    measured = {
        name: {
            "accuracy": planted_report.estimate(value),
            "temperature": planted_report.estimate(1),
        }
        for name, value in zip("abc", accuracies, strict=False)
    }
    assert best("accuracy", measured) == winner
    assert best("temperature", measured) is None  # no contest


def test_less_error_is_better(planted_report):
    measured = {
        name: {"nll": planted_report.estimate(value)} for name, value in (("a", 1), ("b", 2))
    }
    assert best("nll", measured) == "a"


def test_the_page_names_all_metrics_verdicts_and_who_is_missing(compared, planted_report):
    classifiers = {"heads": compared("heads", 0.95), "cnn": compared("cnn", 0.85)}
    page = comparison_page(classifiers, ["transfer"], 15_000_000)
    metrics = re.findall(r'data-metric="([^"]*)"', page)
    assert sorted(metrics) == sorted(planted_report.make_metrics())
    answers = re.findall(r'data-answer="([^"]*)"', page)
    assert answers[:2] == ["yes", "no"]  # is it right?
    assert len(answers) == 8
    assert "kedro run --pipelines=transfer" in page
    assert page.count("data:image/png") == 2
    assert "http" not in page.replace("http-equiv", "")
