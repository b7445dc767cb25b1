"""When a classifier is not to answer: what is promised, and what test images show of it."""

import pytest

from glasshead.reporting.abstention import abstention_note

FITTED = {"threshold": 0.94, "target_error": 0.02, "certainty": 0.95}


@pytest.mark.parametrize(
    ("abstention", "starts"),
    [
        (None, "No threshold of confidence was fitted"),
        ({**FITTED, "threshold": None}, "No threshold of confidence can promise that at most 0.02"),
        (FITTED, "Above a confidence of 0.94, at most 0.02 of its answers"),
    ],
)
def test_it_says_what_calibration_promises(abstention, starts):
    assert abstention_note({"abstention": abstention}, {}).startswith(starts)


@pytest.mark.parametrize(
    ("wrong", "end"), [(0.1, "; of those answers, 0.1 (0.09 to 0.11) are wrong."), (None, ".")]
)
def test_it_says_what_test_images_show(planted_report, wrong, end):
    measured = {
        "coverage": planted_report.estimate(0.9),
        "selective_risk": planted_report.estimate(wrong),
    }
    note = abstention_note({"abstention": FITTED}, measured)
    assert note.endswith(f"It so answers a fraction of 0.9 (0.89 to 0.91) of the test images{end}")
