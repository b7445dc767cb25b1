"""Prompts: one for each class and each answer, in the taxonomy's own words where it has them."""

import pytest

from glasshead.errors import TaxonomyError
from glasshead.images.taxonomy import Prompt, Taxonomy, parse_taxonomy, write_prompts

CLASSES = ("bird", "fire_truck")
TWO = {"map": {"yes": ["bird"], "no": ["fire_truck"]}}


def parse(**subtasks):
    return parse_taxonomy("mine", {"mine": {"subtasks": subtasks}}, CLASSES)


def test_classes_come_first_then_the_answers_of_each_subtask_in_order():
    taxonomy = parse(wings=TWO, main_colour={"attribute": "hue", "values": ["red", "sky_blue"]})
    assert write_prompts(taxonomy, CLASSES) == [
        Prompt("a photo of a bird", "class", None, "bird"),
        Prompt("a photo of a fire truck", "class", None, "fire_truck"),
        Prompt("a photo of something whose wings is yes", "value", "wings", "yes"),
        Prompt("a photo of something whose wings is no", "value", "wings", "no"),
        Prompt("a photo of something whose main colour is red", "value", "main_colour", "red"),
        Prompt(
            "a photo of something whose main colour is sky blue", "value", "main_colour", "sky_blue"
        ),
    ]


def test_a_taxonomy_may_say_some_of_them_itself_and_keeps_them_on_disk():
    taxonomy = parse(wings=TWO | {"prompts": {"yes": "a photo of something with wings"}})
    again = Taxonomy.model_validate(taxonomy.model_dump(mode="json"))
    texts = [prompt.text for prompt in write_prompts(again, CLASSES) if prompt.subtask]
    assert texts == ["a photo of something with wings", "a photo of something whose wings is no"]


def test_one_question_a_class_is_asked_in_words():
    taxonomy = parse_taxonomy("mine", {"mine": {"each_class": True}}, CLASSES)
    texts = [prompt.text for prompt in write_prompts(taxonomy, CLASSES) if prompt.subtask]
    assert texts == [
        "a photo of a bird",
        "a photo of something that is no bird",
        "a photo of a fire truck",
        "a photo of something that is no fire truck",
    ]


@pytest.mark.parametrize(
    ("prompts", "reason"),
    [
        ({"maybe": "x"}, "prompts for maybe, which are not among its values yes, no"),
        ({"yes": ""}, "at least 1 character"),
        ({"yes": ["x"]}, "string"),
        ({True: "x"}, "string"),
        ("x", "dictionary"),
    ],
)
def test_prompts_that_fit_no_value_or_say_nothing_are_refused(prompts, reason):
    with pytest.raises(TaxonomyError, match=f"(?s)'mine' is malformed.*{reason}"):
        parse(wings=TWO | {"prompts": prompts})
