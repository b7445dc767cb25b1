"""When a classifier is not to answer: what is promised, and what test images show of it."""

import pytest

from glasshead.reporting.notes import abstention_note

FITTED = {"threshold": 0.94, "target_error": 0.02, "certainty": 0.95, "rows": 480}


@pytest.mark.parametrize(
    ("abstention", "starts"),
    [
        (None, "It never abstains: no confidence threshold was fitted"),
        (
            {**FITTED, "threshold": None},
            "It always abstains: no confidence threshold can promise that at most 0.02",
        ),
        (
            FITTED,
            "It answers above a confidence of 0.94 and abstains below: at most 0.02 of its answers",
        ),
    ],
)
def test_it_says_what_calibration_promises(abstention, starts):
    assert abstention_note({"abstention": abstention}, {}).startswith(starts)


@pytest.mark.parametrize(
    ("wrong", "end"), [(0.1, "; of those answers, 0.100 (0.090 to 0.110) are wrong."), (None, ".")]
)
def test_it_says_what_test_images_show(planted_report, wrong, end):
    measured = {
        "coverage": planted_report.estimate(0.9),
        "selective_risk": planted_report.estimate(wrong),
    }
    note = abstention_note({"abstention": FITTED}, measured)
    assert note.endswith(f"It answers a fraction of 0.900 (0.890 to 0.910) of the test images{end}")
