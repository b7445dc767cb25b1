"""What the report on a risk auditor concludes, by planted numbers on either side of each rule."""

import pytest

from glasshead.audit.findings import not_checked
from glasshead.reporting.risk_verdicts import (
    beats_grad_cam,
    finds_the_risk,
    points_at_the_cause,
    rests_on_the_risk,
    sigmoid_verdicts,
)

FINDING = {
    "check": "planted_mark",
    "severity": "high",
    "summary": "A mark decides.",
    "evidence": {"drop": 0.3},
    "rows": [],
    "advice": "Remove it.",
}
MISSED = not_checked("data_bias", "no attributes", "Name columns.")


@pytest.mark.parametrize(("auroc", "answer"), [(0.95, "yes"), (0.8, "no"), (0.905, "unresolved")])
def test_it_finds_the_risk_where_auroc_is_above_what_is_asked(planted_report, auroc, answer):
    metrics = planted_report.make_risk_metrics() | {"auroc": planted_report.estimate(auroc)}
    assert finds_the_risk(metrics, 0.9)["answer"] == answer


@pytest.mark.parametrize(
    ("iou", "pointing", "answer"),
    [
        (0.6, 0.9, "yes"),
        (0.6, 0.71, "unresolved"),
        (0.6, 0.5, "no"),
        (0.2, 0.9, "no"),
        (None, None, "unknown"),
    ],
)
def test_maps_point_at_the_cause_where_both_measures_are_above_the_centre(
    planted_report, iou, pointing, answer
):
    metrics = planted_report.make_risk_metrics() | {
        "iou": planted_report.estimate(iou),
        "pointing_game": planted_report.estimate(pointing),
    }
    assert points_at_the_cause(metrics)["answer"] == answer


def test_the_map_that_wins_one_measure_and_ties_the_other_is_no_better_than_grad_cam(
    planted_report,
):
    verdict = beats_grad_cam(planted_report.make_risk_metrics())
    assert verdict["answer"] == "unresolved"
    assert {"iou_grad_cam", "pointing_game_grad_cam"} <= verdict["numbers"].keys()


@pytest.mark.parametrize(
    ("findings", "answer"),
    [
        ([], "yes"),
        ([FINDING, MISSED], "no"),
        ([FINDING | {"severity": "medium"}], "unresolved"),
        ([MISSED], "unknown"),
    ],
)
def test_a_check_that_was_not_made_is_no_acquittal(findings, answer):
    verdict = rests_on_the_risk(findings)
    assert verdict["answer"] == answer
    assert all(each["check"] in verdict["reason"] for each in findings)


def test_mistakes_do_not_say_what_the_score_rests_on():
    verdict = rests_on_the_risk([FINDING | {"check": "confident_mistakes"}])
    assert verdict["answer"] == "yes"
    assert "Mistakes (confident_mistakes) do not count" in verdict["rule"]


def test_each_of_several_risks_is_judged_by_its_own_metrics(planted_report):
    good, bad = planted_report.make_risk_metrics(), planted_report.make_risk_metrics()
    bad["auroc"] = planted_report.estimate(0.6)
    metrics = {f"good/{name}": each for name, each in good.items()}
    metrics |= {f"bad/{name}": each for name, each in bad.items()} | good
    found = {
        each["question"]: each["answer"]
        for each in sigmoid_verdicts(["good", "bad"], metrics, [], 0.9)
    }
    assert found["good: Does the score find the risk?"] == "yes"
    assert found["bad: Does the score find the risk?"] == "no"
    assert len(found) == 9
