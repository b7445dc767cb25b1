"""Taxonomies: three kinds of subtask, what they refuse, what the shipped ones promise; functions and captions."""

from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from glasshead.errors import TaxonomyError
from glasshead.images.captions import (
    FACTS,
    PLACES,
    UNKNOWN,
    all_words,
    encode_facts,
    write_caption,
)
from glasshead.images.functions import IMAGE_FUNCTIONS, brightness, saturation, texture
from glasshead.images.scenes import CLASSES, COLOURS, HABITATS, draw_scene
from glasshead.images.taxonomy import Taxonomy, add_targets, parse_taxonomy

FOLDER = Path(__file__).parents[2] / "conf" / "base" / "taxonomies"
SHIPPED = {path.stem: yaml.safe_load(path.read_text()) for path in FOLDER.glob("*.yml")}
ANIMALS = ("bird", "cat", "dog")
KINDS = {
    "subtasks": {
        "wings": {"map": {"yes": ["bird"], "no": ["cat", "dog"]}},
        "place": {"attribute": "habitat", "values": ["room", "field"]},
        "light": {"function": "brightness"},
    }
}


class Pictures:
    """Stands in for an image table: one grey a row; counts how often it is asked."""

    def __init__(self, greys):
        self.greys, self.asked = greys, 0

    def pil(self, row):
        self.asked += 1
        return Image.new("RGB", (8, 8), (self.greys[row],) * 3)


def parse(content, classes=ANIMALS):
    return parse_taxonomy("mine", {"mine": content}, classes)


def samples(**changes):
    columns = {
        "image_id": ["train/0", "train/1", "test/0"],
        "label": ["dog", "bird", "cat"],
        "attribute/habitat": ["field", "room", "field"],
    }
    return pd.DataFrame(columns | changes, index=[7, 8, 9])


class TestParsing:
    def test_the_three_kinds_know_their_values(self):
        taxonomy = parse(KINDS)
        assert {task.name: task.values for task in taxonomy.subtasks} == {
            "wings": ("yes", "no"),
            "place": ("room", "field"),
            "light": ("dark", "medium", "bright"),
        }

    def test_content_may_be_a_function_that_is_called_only_if_chosen(self):
        lazy = {"mine": lambda: KINDS, "other": lambda: pytest.fail("read without need")}
        assert parse_taxonomy("mine", lazy, ANIMALS) == parse(KINDS)

    def test_it_comes_back_from_json_whose_keys_were_sorted(self):
        taxonomy = parse(KINDS)
        dumped = taxonomy.model_dump(mode="json")
        dumped["subtasks"][0]["map"] = dict(sorted(dumped["subtasks"][0]["map"].items()))
        again = Taxonomy.model_validate(dumped)
        assert [task.values for task in again.subtasks] == [t.values for t in taxonomy.subtasks]

    def test_an_unknown_name_lists_the_known_ones(self):
        with pytest.raises(TaxonomyError, match=r"'conceps'.*Known: concepts, seed"):
            parse_taxonomy("conceps", {"seed": {}, "concepts": {}}, ANIMALS)

    def test_classes_outside_are_listed_by_subtask(self):
        with pytest.raises(TaxonomyError, match=r"wings: horse, ship\. Add them"):
            parse(KINDS, (*ANIMALS, "horse", "ship"))

    def test_each_class_asks_one_question_a_class(self):
        taxonomy = parse({"each_class": True})
        assert [task.name for task in taxonomy.subtasks] == ["is_bird", "is_cat", "is_dog"]
        targets = add_targets(samples(), Pictures([0, 0, 0]), taxonomy).filter(like="target/")
        assert targets.to_numpy().tolist() == [[1, 1, 0], [0, 1, 1], [1, 0, 1]]

    def test_classes_whose_questions_would_have_one_name_are_refused(self):
        with pytest.raises(TaxonomyError, match="are equal once"):
            parse({"each_class": True}, ("a/b", "a_b", "c"))

    def test_each_class_survives_names_that_are_paths(self):
        taxonomy = parse({"each_class": True}, ("a/b", "c"))
        assert [task.name for task in taxonomy.subtasks] == ["is_a_b", "is_c"]

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (None, "needs either"),
            ([], "needs either"),
            ("subtasks", "needs either"),
            ({}, "needs either"),
            ({"subtask": {}}, "needs either"),
            ({"subtasks": {}, "each_class": True}, "needs either"),
            ({"subtasks": None}, "no subtasks"),
            ({"subtasks": {}}, "no subtasks"),
            ({"each_class": False}, "no subtasks"),
            ({"subtasks": ["wings"]}, "malformed"),
            ({"subtasks": "wings"}, "malformed"),
            ({"subtasks": {"wings": "yes"}}, "malformed"),
            ({"subtasks": {"wings": None}}, "exactly one"),
            ({"subtasks": {"wings": {"values": ["a", "b"]}}}, "exactly one"),
            ({"subtasks": {"w": {"attribute": "size", "function": "texture"}}}, "exactly one"),
            ({"subtasks": {"wings": {"map": ["bird"]}}}, "malformed"),
            ({"subtasks": {"wings": {"map": 3}}}, "malformed"),
            ({"subtasks": {"wings": {"map": {True: ["bird"], False: ["cat", "dog"]}}}}, "string"),
            ({"subtasks": {"wings": {"map": {"yes": "bird", "no": ["cat"]}}}}, "malformed"),
            ({"subtasks": {"wings": {"map": {"yes": ["bird", "cat", "dog"]}}}}, "two values"),
            ({"subtasks": {"w": {"map": {"a": ["bird", "cat"], "b": ["bird"]}}}}, "bird"),
            ({"subtasks": {"w": {"map": {"a/b": ["bird"], "c": ["cat", "dog"]}}}}, "'/'"),
            ({"subtasks": {"a/b": {"function": "texture"}}}, "'/'"),
            ({"subtasks": {"final": {"function": "texture"}}}, "classifier's own output"),
            ({"subtasks": {"w": {"map": {True: ["bird"], False: ["cat"]}}}}, "in quotes"),
            ({"subtasks": {"hue": {"function": "hue"}}}, "known: dominant_channel"),
            ({"subtasks": {"hue": {"function": ["hue"]}}}, "malformed"),
            ({"subtasks": {"place": {"attribute": "habitat"}}}, "two values"),
            ({"subtasks": {"p": {"attribute": "habitat", "values": ["a", "a"]}}}, "twice"),
            ({"subtasks": {"l": {"function": "texture", "values": ["a", "b"]}}}, "its own"),
            (
                {
                    "subtasks": {
                        "w": {"map": {"a": ["bird"], "b": ["cat", "dog"]}, "values": ["a", "c"]}
                    }
                },
                "its map",
            ),
            ({"subtasks": {"light": {"function": "brightness", "threshold": 3}}}, "threshold"),
            ({"subtasks": {"light": {"function": "brightness", 3: 4}}}, "malformed"),
        ],
    )
    def test_malformed_content_is_one_typed_error(self, content, reason):
        with pytest.raises(TaxonomyError, match=f"(?s)'mine'.*{reason}") as error:
            parse(content)
        assert "errors.pydantic.dev" not in str(error.value)

    def test_a_file_that_is_no_yaml_is_one_typed_error(self):
        with pytest.raises(TaxonomyError, match="'mine' cannot be read"):
            parse(lambda: yaml.safe_load("subtasks: ["))


class TestTargets:
    def test_each_kind_gives_the_index_of_its_value(self):
        before = samples()
        found = add_targets(before, Pictures([0, 128, 255]), parse(KINDS))
        pd.testing.assert_frame_equal(before, samples())
        expected = {"target/wings": [1, 0, 1], "target/place": [1, 0, 1], "target/light": [0, 1, 2]}
        for name, values in expected.items():
            assert found[name].tolist() == values
            assert found[name].dtype == np.int64
        assert list(found)[3:] == list(expected)
        assert list(found.index) == [7, 8, 9]

    def test_each_picture_is_read_once_and_only_for_functions(self):
        pictures = Pictures([0, 0, 0])
        add_targets(samples(), pictures, parse({"each_class": True}))
        assert pictures.asked == 0
        two = {"subtasks": {"a": {"function": "texture"}, "b": {"function": "brightness"}}}
        add_targets(samples(), pictures, parse(two))
        assert pictures.asked == 3

    @pytest.mark.parametrize("value", ["desert", None])
    def test_an_attribute_value_outside_is_named_with_its_row(self, value):
        wrong = samples(**{"attribute/habitat": ["field", value, "field"]})
        with pytest.raises(TaxonomyError, match=r"'place' lists room, field; 1 rows.*train/1"):
            add_targets(wrong, Pictures([0, 0, 0]), parse(KINDS))

    def test_a_label_outside_is_named_with_its_row(self):
        with pytest.raises(TaxonomyError, match=r"'wings' lists bird, cat, dog; 1 rows.*ship"):
            add_targets(samples(label=["dog", "ship", "cat"]), Pictures([0, 0, 0]), parse(KINDS))

    def test_a_missing_attribute_says_what_to_do(self):
        without = samples().drop(columns="attribute/habitat")
        with pytest.raises(TaxonomyError, match="'habitat', which this data does not have"):
            add_targets(without, Pictures([0, 0, 0]), parse(KINDS))


class TestShipped:
    @pytest.mark.parametrize("name", ["seed", "concepts", "classes"])
    def test_every_shipped_taxonomy_covers_the_ten_classes(self, name):
        taxonomy = parse_taxonomy(name, SHIPPED, CLASSES)
        for task in taxonomy.subtasks:
            assert task.map is None or task.classes == set(CLASSES), task.name

    def test_seed_is_the_original_design(self):
        taxonomy = parse_taxonomy("seed", SHIPPED, CLASSES)
        sizes = {task.name: len(task.values) for task in taxonomy.subtasks}
        assert sizes == {"color_class": 3, "animal_vehicle": 2}
        assert taxonomy.subtasks[0].values == ("red", "green", "blue")

    def test_concepts_is_no_class_code_in_disguise(self):
        tasks = parse_taxonomy("concepts", SHIPPED, CLASSES).subtasks
        assert 8 <= len(tasks) <= 12
        assert sum(task.map is None for task in tasks) >= 3

    def test_all_classes_differ_by_the_class_maps_of_concepts(self):
        tasks = [t for t in parse_taxonomy("concepts", SHIPPED, CLASSES).subtasks if t.map]
        codes = {
            name: tuple(next(v for v, names in t.map.items() if name in names) for t in tasks)
            for name in CLASSES
        }
        for a, b in combinations(CLASSES, 2):
            assert codes[a] != codes[b], (a, b)

    def test_every_answer_of_concepts_occurs_on_scenes(self):
        """A function whose thresholds leave an answer empty would be a question with a foregone answer."""
        rng = np.random.default_rng(0)
        pictures = [
            Image.fromarray(draw_scene(CLASSES[i % 10], 32, rng, 0.035, 0.35).pixels)
            for i in range(300)
        ]
        for name, function in IMAGE_FUNCTIONS.items():
            fractions = np.bincount([function(p) for p in pictures], minlength=3) / len(pictures)
            assert fractions.min() > 0.05, (name, fractions)


def flat(*colour):
    return Image.new("RGB", (32, 32), colour)


class TestFunctions:
    @pytest.mark.parametrize(
        ("colour", "answer"),
        [((200, 10, 10), "red"), ((9, 10, 9), "green"), ((0, 0, 1), "blue"), ((5, 5, 5), "red")],
    )
    def test_the_dominant_channel_is_the_largest_mean(self, colour, answer):
        function = IMAGE_FUNCTIONS["dominant_channel"]
        assert function.values[function(flat(*colour))] == answer

    def test_brightness_is_bt601_luma(self):
        assert brightness(np.ones((2, 2, 3))) == pytest.approx(1.0)
        pixels = np.zeros((1, 3, 3))
        pixels[0, 0, 0] = pixels[0, 1, 1] = pixels[0, 2, 2] = 1
        assert brightness(pixels) == pytest.approx(1 / 3)
        assert brightness(pixels[:, :1]) == pytest.approx(0.299)

    def test_saturation_is_the_spread_of_the_channels(self):
        assert saturation(np.full((4, 4, 3), 0.7)) == 0
        assert saturation(np.array([[[1.0, 0.25, 0.5], [0.5, 0.5, 0.5]]])) == pytest.approx(0.375)

    def test_texture_is_the_mean_step_between_neighbours(self):
        stripes = np.zeros((6, 6, 3))
        stripes[:, ::2] = 1
        assert texture(stripes) == pytest.approx(
            0.5
        )  # every step to the right is 1, none downwards
        chequers = np.indices((6, 6)).sum(axis=0)[..., None].repeat(3, axis=2) % 2
        assert texture(chequers.astype(float)) == pytest.approx(1.0)
        assert texture(np.full((6, 6, 3), 0.3)) == 0

    def test_a_measure_equal_to_a_threshold_belongs_to_the_upper_value(self):
        function = IMAGE_FUNCTIONS["brightness"]
        for index, threshold in enumerate(function.thresholds):
            exactly = type(function)(function.values, lambda _, t=threshold: t, function.thresholds)
            assert exactly(flat(0, 0, 0)) == index + 1

    @pytest.mark.parametrize("name", IMAGE_FUNCTIONS)
    def test_an_enlarged_image_gets_the_same_answer(self, name):
        rng = np.random.default_rng(0)
        function = IMAGE_FUNCTIONS[name]
        for _ in range(20):
            small = Image.fromarray(draw_scene("cat", 32, rng, 0.03, 0.3).pixels)
            assert function(small.resize((96, 96), Image.Resampling.NEAREST)) == function(small)

    @pytest.mark.parametrize("name", IMAGE_FUNCTIONS)
    def test_there_is_one_threshold_less_than_values(self, name):
        function = IMAGE_FUNCTIONS[name]
        assert len(function.thresholds) == len(function.values) - 1
        assert list(function.thresholds) == sorted(function.thresholds)


class TestCaptions:
    def test_a_caption_says_what_is_known_and_no_more(self):
        truck = CLASSES.index("truck")
        red, road = list(COLOURS).index("red"), list(HABITATS).index("road")
        assert write_caption([truck, 2, red, road]) == "a photo of a large red truck on a road"
        assert write_caption([truck, UNKNOWN, red, road]) == "a photo of a red truck on a road"
        assert write_caption([truck, UNKNOWN, UNKNOWN, road]) == "a photo of a truck on a road"
        assert write_caption([truck] + [UNKNOWN] * 3) == "a photo of a truck"

    def test_different_statements_have_different_captions(self):
        ranges = [range(len(FACTS["class"])), *(range(-1, len(FACTS[n])) for n in list(FACTS)[1:])]
        captions = [write_caption(statement) for statement in product(*ranges)]
        assert len(set(captions)) == len(captions) == 10 * 4 * 10 * 7

    def test_every_habitat_has_a_place_and_every_word_is_listed(self):
        assert PLACES.keys() == HABITATS.keys()
        listed = {word for caption in all_words() for word in caption.split()}
        assert {*CLASSES, *COLOURS, "small", "medium", "large", "photo"} <= listed
        assert {word for place in PLACES.values() for word in place.split()} <= listed

    def test_facts_are_the_indices_of_what_the_table_knows(self):
        frame = pd.DataFrame(
            {
                "label": ["cat", "truck"],
                "attribute/habitat": ["sky", None],
                "attribute/size": ["large", "small"],
            },
            index=[5, 3],
        )
        assert encode_facts(frame).tolist() == [[3, 2, UNKNOWN, 0], [9, 0, UNKNOWN, UNKNOWN]]
        assert encode_facts(frame[["label"]]).tolist() == [[3, -1, -1, -1], [9, -1, -1, -1]]

    def test_facts_of_scenes_are_all_known(self):
        rng = np.random.default_rng(0)
        rows = [
            {"label": name}
            | {f"attribute/{k}": v for k, v in draw_scene(name, 32, rng, 0, 0).attributes.items()}
            for name in CLASSES
        ]
        facts = encode_facts(pd.DataFrame(rows))
        assert (facts >= 0).all()
        assert facts[:, 0].tolist() == list(range(10))
