"""Risks by class and by column, and what is refused."""

import pandas as pd
import pytest
from pydantic import ValidationError

from glasshead.errors import ParameterError, SplitError
from glasshead.images.risks import Risk, add_risk_labels, check_both_sides

CLASSES = ("bird", "car", "truck")


@pytest.fixture
def samples() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": ["a", "b", "c", "d"],
            "split": ["train", "train", "validation", "test"],
            "label": ["bird", "car", "truck", "car"],
            "content_hash": ["0"] * 4,
            "attribute/light": ["day", "night", None, "night"],
            "label/wings": [0, 1, 1, 1],
        }
    )


def test_classes_and_columns_make_targets(samples):
    risks = (
        Risk(name="road", classes=("car", "truck")),
        Risk(name="dark", column="light", values=("night",)),
    )
    table = add_risk_labels(samples, risks, CLASSES)
    assert table["label/road"].tolist() == [0, 1, 1, 1]
    assert table["label/dark"].tolist() == [0, 1, 0, 1]
    assert "label/wings" not in table  # a taxonomy's, which is no risk


def test_text_names_classes():
    assert Risk.model_validate("car+truck") == Risk(name="car+truck", classes=("car", "truck"))


@pytest.mark.parametrize(
    "raw",
    [
        {"name": "x"},
        {"name": "x", "column": "light"},
        {"name": "x", "classes": ["car"], "column": "light", "values": ["night"]},
        {"name": "a/b", "classes": ["car"]},
        {"name": "", "classes": ["car"]},
    ],
)
def test_a_risk_is_defined_once_under_a_plain_name(raw):
    with pytest.raises(ValidationError):
        Risk.model_validate(raw)


@pytest.mark.parametrize(
    ("risk", "message"),
    [
        (Risk(name="x", classes=("boat",)), "class 'boat'.*Known: bird, car, truck"),
        (Risk(name="x", column="sky", values=("dark",)), "column 'sky'.*Known: light"),
        (Risk(name="x", column="light", values=("dusk",)), "value of light 'dusk'.*day, night"),
    ],
)
def test_what_the_data_lacks_is_named_beside_what_it_has(samples, risk, message):
    with pytest.raises(ParameterError, match=message):
        add_risk_labels(samples, (risk,), CLASSES)


@pytest.mark.parametrize(("classes", "found"), [(("truck",), "None"), (CLASSES, "All")])
def test_train_rows_on_one_side_alone_are_refused(samples, classes, found):
    risk = Risk(name="road", classes=classes)
    table = add_risk_labels(samples, (risk,), CLASSES)
    with pytest.raises(SplitError, match=f"{found} of the 2 train images have the risk 'road'"):
        check_both_sides(table, (risk,))
