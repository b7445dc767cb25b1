"""What long steps log: nothing for the first seconds, then how many items are done and how long is left."""

import logging
from itertools import count

import pytest

from glasshead.progress import reported


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        (8, ["2 of 8 rows, about 18 s left", "5 of 8 rows, about 7 s left"]),
        (None, ["2 rows", "5 rows"]),
    ],
)
def test_every_few_seconds_it_says_how_far_it_is(caplog, total, expected):
    ticks = count(step=2)  # each item takes two seconds
    with caplog.at_level(logging.INFO):
        assert list(reported(range(8), "rows", total, clock=lambda: next(ticks))) == list(range(8))
    assert caplog.messages == expected


def test_what_is_over_at_once_logs_nothing(caplog):
    with caplog.at_level(logging.INFO):
        assert list(reported("abc", "letters", 3)) == ["a", "b", "c"]
    assert not caplog.messages
