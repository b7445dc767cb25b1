"""Settings as a line of text."""

import pytest

from glasshead.reporting.wording import spelled


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (None, "none"),
        ("a", "a"),
        ([], ""),
        ({"a": None, "b": [1, 2.5]}, "a: none; b: 1, 2.5"),
        ({"losses": {"bce": 1.0, "patch": 0}}, "losses (bce: 1.0; patch: 0)"),
        (
            [{"name": "road", "classes": ["car", "truck"]}, {"name": "dark"}],
            "(name: road; classes: car, truck), (name: dark)",
        ),
    ],
)
def test_settings_are_spelled_on_one_line_however_nested(value, line):
    assert spelled(value) == line
