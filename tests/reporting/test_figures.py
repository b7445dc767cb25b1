"""Names on axes: short, on one line, never a formula."""

import pytest

from glasshead.reporting.figures import LONGEST, plain


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cat", "cat"),
        ("two\nlines  here", "two lines here"),
        ("manufacturer_headquarters", "manufacturer_headquarter"[: LONGEST - 1] + "…"),
        ("$x_{", r"\$x_{"),
        (1, "1"),
    ],
)
def test_a_name_fits_an_axis(name: object, shown: str) -> None:
    assert plain(name) == shown
