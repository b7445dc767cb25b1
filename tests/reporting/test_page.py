import pytest
from huggingface_hub.utils import yaml_dump
from markdown_it import MarkdownIt

from glasshead.reporting.page import escaped
from glasshead.reporting.wording import clipped, estimated, interval, number

HOSTILE = [
    "<script>alert(1)</script>",
    "a|b `c` *d* _e_ [f](http://g) # ~h~ \\i",
    "line\nbreak\rtab\t",
    "&lt;already&gt;",
    "{{ 7 * 7 }} {% raw %}",
    "日本語 🚗 e\u0301",
    "\u202eright to left",
    "lone \udc80 surrogate",
]


@pytest.mark.parametrize("label", HOSTILE)
def test_markdown_shows_a_label_as_it_is(label):
    """Rendered by another implementation, html and tables on, it is one paragraph with the label's text."""
    (block, content, end) = MarkdownIt("commonmark").enable("table").parse(f"Of {escaped(label)}.")
    assert (block.type, end.type) == ("paragraph_open", "paragraph_close")
    assert {child.type for child in content.children} <= {"text", "text_special"}
    shown = "".join(child.content for child in content.children)
    assert shown == f"Of {clipped(label, 1000)}."


def test_a_label_stays_in_its_cell():
    table = f"| a | b |\n|---|---|\n| {escaped('x|y')} | 1 |\n"
    tokens = MarkdownIt("commonmark").enable("table").parse(table)
    assert sum(token.type == "td_open" for token in tokens) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "undefined"),
        (0.97166, "0.972"),
        (1234.5, "1,234"),
        (1200, "1,200"),
        (0, "0"),
        (2.547e-8, "2.55e-08"),
        (True, "True"),
        ("x", "x"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


def test_intervals_are_left_out_where_there_is_none():
    whole = {"value": 0.5, "low": -0.25, "high": 0.75}
    assert (interval(whole), estimated(whole)) == ("-0.2 to 0.8", "0.5 (-0.2 to 0.8)")
    assert estimated({"value": 1.5, "low": None, "high": None}) == "1.5"


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ((0.96503, 0.97831), "0.972 (0.965 to 0.978)"),
        ((0.971659, 0.971661), "0.9716600 (0.9716590 to 0.9716610)"),
        ((0.6, 1.6), "1.0 (0.6 to 1.6)"),
        ((0.97166, 0.97166), "0.972 (0.972 to 0.972)"),
        ((-1000.0, 2000.0), "1 (-1,000 to 2,000)"),
    ],
)
def test_estimates_carry_the_digits_that_their_interval_supports(bounds, text):
    low, high = bounds
    assert estimated({"value": 0.97166, "low": low, "high": high}) == text


def test_names_are_clipped_to_one_line():
    assert clipped("a\nb" + "c" * 100) == "a b" + "c" * 56 + "…"
    assert len(clipped("x" * 10_000)) == 60
    assert yaml_dump({"name": clipped("\udc80")})  # encodable
