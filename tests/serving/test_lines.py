"""Lines for programs, tables and people, of names and numbers that would break them."""

import io
import json
import math
from importlib import resources

import pandas as pd
import pytest
from jsonschema import Draft202012Validator, ValidationError

from glasshead.models.classifier import Classifier
from glasshead.serving.lines import csv_header, csv_line, json_line, text_line
from glasshead.serving.predictor import Prediction

NAME = 'a,"b"\n\tc\x1b[31m=1+1 <script>.png'
PROBABILITIES = {"bird": 0.1234567891, "cat": 0.8, "<script>alert('ship')</script>": 0.0765432109}
CONCEPTS = {"wings": {"yes": 1.0, "no": 0.0}, "legs": {"none": 0.2, "two": 0.3, "four": 0.5}}
WHY = "confidence is not above 0.9"
GOOD = Prediction(NAME, PROBABILITIES, CONCEPTS, abstain=True, reason=WHY, explanation="e.png")
BAD = Prediction(NAME, error="empty file")


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads(
        (resources.files("glasshead") / "assets/prediction.schema.json").read_text()
    )
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize(
    ("found", "explained"),
    [(GOOD, True), (GOOD, False), (BAD, True), (Prediction("x", PROBABILITIES), True)],
)
def test_json_is_one_line_that_the_schema_describes(validator, found, explained):
    line = json_line(found, 2, explained)
    assert line.isascii()
    assert "\n" not in line
    record = json.loads(line)
    validator.validate(record)
    assert record["image"] == found.image
    if found.error is None:
        assert [best["class"] for best in record["top"]] == ["cat", "bird"]
        assert record["top"][1]["probability"] == 0.123457
        assert ("explanation" in record) is explained


@pytest.mark.parametrize(
    "change",
    [
        {"confidence": 1.1},
        {"abstain": "no"},
        {"error": "both"},
        {"top": []},
        {"concepts": {"legs": {"two": "many"}}},
        {"unknown": 1},
    ],
)
def test_the_schema_refuses_what_is_wrong(validator, change):
    with pytest.raises(ValidationError):
        validator.validate(json.loads(json_line(GOOD, 2)) | change)


def test_csv_comes_back_as_it_was(classifier: Classifier):
    lines = [csv_header(classifier), csv_line(GOOD, classifier), csv_line(BAD, classifier)]
    text = io.StringIO("\n".join(lines) + "\n")
    table = pd.read_csv(text, keep_default_na=False, na_values=[""])
    assert list(table["image"]) == [NAME, NAME]
    good, bad = table.iloc[0], table.iloc[1]
    assert (good["class"], good["confidence"], good["abstain"]) == ("cat", 0.8, True)
    assert good["reason"] == WHY
    assert good["probability/bird"] == 0.123457
    assert good["concept/legs/four"] == 0.5
    assert good["explanation"] == "e.png"
    assert (bad["error"], good["error"]) == ("empty file", pytest.approx(math.nan, nan_ok=True))
    assert bad.drop(["image", "error"]).isna().all()
    assert len(table.columns) == 5 + 3 + 5 + 2


def test_text_is_one_line_without_control_characters():
    for found, said in (
        (GOOD, f"cat 0.800 (abstains: {WHY})"),
        (BAD, "cannot be used: empty file"),
    ):
        name, *parts = text_line(found, 2).split("\t")
        assert name.isprintable()
        assert name == r'a,"b"\n\tc\x1b[31m=1+1 <script>.png'
        assert parts[0] == said
    assert text_line(GOOD, 1).count("\t") == 1
    assert text_line(GOOD, 2, explained=True).endswith("\tbird 0.123\te.png")
