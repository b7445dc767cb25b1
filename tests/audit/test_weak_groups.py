"""Classes and values of attributes with lower accuracy, against planted ones."""

import numpy as np
import pandas as pd
import pytest

from glasshead.audit.weak_groups import MOST, weak_classes, weak_values
from glasshead.images.sources.params import IngestParams

SOURCES = ("scenes", "cifar10", "parquet", "image_folder", "hub")


def spoiled(test, group, fraction):
    """Return `test` with a `fraction` of the rows of a group answered by another class: dog, or of dogs ship."""
    drawn = np.random.default_rng(0).random(len(test)) < fraction
    wrong = test["label"].map(lambda label: "ship" if label == "dog" else "dog")
    return test.assign(predicted=test["predicted"].where(~(group & drawn), wrong))


def lights(n=1200, seed=1):
    values = np.random.default_rng(seed).choice(["day", "dusk", "night"], n)
    return pd.DataFrame({"light": values})


class TestClasses:
    def test_a_class_that_is_taken_for_another_is_found(self, answers):
        test = answers()
        cats = test["label"] == "cat"
        (found,) = weak_classes(spoiled(test, cats, 0.4))
        assert "'cat'" in found["summary"]
        assert "are 'dog'" in found["summary"]
        assert found["severity"] == "high"
        numbers = found["evidence"]
        assert numbers["comparisons"] == 4
        assert numbers["n"] == cats.sum()
        assert numbers["difference"]["high"] < -0.1
        assert sum(numbers["taken_for"].values()) == numbers["mistakes"]
        assert set(found["rows"]) <= set(test.loc[cats, "image_id"])

    @pytest.mark.parametrize(("fraction", "severity"), [(0.15, "medium"), (0.09, "low")])
    def test_severity_is_that_of_the_least_difference(self, answers, fraction, severity):
        test = answers(6000)
        (found,) = weak_classes(spoiled(test, test["label"] == "cat", fraction))
        assert found["severity"] == severity

    def test_alike_classes_are_blamed_in_5_percent_of_test_sets(self, answers):
        blamed = [bool(weak_classes(answers(600, seed))) for seed in range(300)]
        assert np.mean(blamed) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)

    def test_a_class_of_few_images_is_left_out(self, answers):
        test = answers()
        cats = np.flatnonzero(test["label"] == "cat")
        few = spoiled(test, test["label"] == "cat", 1).drop(index=cats[19:])
        assert weak_classes(few) == []

    @pytest.mark.parametrize(
        ("labels", "reason"),
        [
            (["cat"] * 60, "one value only in the test images"),
            (["cat", "dog", "ship"] * 5, "no value of 20 test images that have others beside them"),
        ],
    )
    def test_where_no_class_can_be_compared_it_says_so(self, answers, labels, reason):
        test = answers(len(labels)).assign(label=labels, predicted="dog")
        (found,) = weak_classes(test)
        assert found["check"] == "class_accuracy"
        assert found["severity"] == "low"
        assert found["summary"] == f"Not checked: label has {reason}."


class TestAttributes:
    def test_a_value_with_lower_accuracy_is_found(self, answers):
        test, attributes = answers(), lights()
        attributes["camera"] = np.where(np.arange(len(test)) % 2, "a", "b")
        night = attributes["light"] == "night"
        (found,) = weak_values(spoiled(test, night, 0.3), attributes)
        assert found["evidence"]["attribute"] == "light"
        assert found["evidence"]["value"] == "night"
        assert found["evidence"]["comparisons"] == 5
        assert found["severity"] == "high"
        assert set(found["rows"]) <= set(test.loc[night, "image_id"])

    def test_a_value_is_not_blamed_for_the_class_it_goes_with(self, answers):
        test = answers()
        cats = (test["label"] == "cat").to_numpy()
        test = spoiled(test, cats, 0.5)
        draw = np.random.default_rng(2).random(len(test))
        place = np.where(draw < np.where(cats, 0.8, 0.2), "indoors", "outdoors")
        assert weak_values(test, pd.DataFrame({"place": place})) == []
        right = test["label"] == test["predicted"]
        assert right[place == "indoors"].mean() < right[place == "outdoors"].mean() - 0.15

    def test_alike_values_are_blamed_in_5_percent_of_test_sets(self, answers):
        blamed = [
            bool(weak_values(answers(600, seed), lights(600, seed + 1))) for seed in range(300)
        ]
        assert np.mean(blamed) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)

    def test_rows_without_a_value_are_neither_group_nor_rest(self, answers):
        test, attributes = answers(), lights()
        night, dusk = attributes["light"] == "night", attributes["light"] == "dusk"
        test = spoiled(spoiled(test, night, 0.3), dusk, 0.3)
        (low, high) = weak_values(test, attributes)
        assert {low["evidence"]["value"], high["evidence"]["value"]} == {"dusk", "night"}
        assert weak_values(test, attributes.where(night | dusk)) == []

    def test_all_numbers_are_of_classes_that_hold_the_value_and_others(self, answers):
        test = answers().assign(predicted=lambda rows: rows["label"])
        cats, dogs, draw = test["label"] == "cat", test["label"] == "dog", np.arange(len(test)) % 4
        indoors = cats | (dogs & (draw < 2))
        test = spoiled(test, dogs & indoors, 0.5)
        attributes = pd.DataFrame({"place": np.where(indoors, "indoors", "outdoors")})
        (found,) = weak_values(test, attributes)
        compared = test[dogs & indoors]
        right = (compared["label"] == compared["predicted"]).mean()
        numbers = found["evidence"]
        assert numbers["n"] == len(compared)
        assert numbers["mistakes"] == (compared["label"] != compared["predicted"]).sum()
        assert numbers["accuracy"] == pytest.approx(right)
        assert numbers["difference"]["value"] == pytest.approx(right - 1)
        assert f"{len(compared)} comparable" in found["summary"]
        assert f"{100 * right:.1f} % are right" in found["summary"]
        assert f"{100 * (1 - right):.1f} points" in found["summary"]
        assert set(found["rows"]) <= set(compared["image_id"])

    def test_images_of_classes_without_others_cost_no_comparison(self, answers):
        test = answers().assign(predicted=lambda rows: rows["label"])
        cats, odd = (test["label"] == "cat").to_numpy(), np.arange(len(test)) % 2 == 1
        indoors = cats.copy()
        indoors[np.flatnonzero(~cats)[:19]] = True
        test = spoiled(spoiled(test, cats, 1), odd & ~cats, 0.3)
        place = np.where(indoors, "indoors", "outdoors")
        attributes = pd.DataFrame({"place": place, "camera": np.where(odd, "a", "b")})
        (found,) = weak_values(test, attributes)
        assert (found["evidence"]["value"], found["evidence"]["comparisons"]) == ("a", 3)

    @pytest.mark.parametrize(("mistakes", "found"), [(4, 0), (5, 1)])
    def test_mistakes_of_classes_without_others_do_not_count(self, answers, mistakes, found):
        test = answers().assign(predicted=lambda rows: rows["label"])
        cats, dogs = (test["label"] == name for name in ("cat", "dog"))
        some = test.index.isin(test.index[dogs][:25])
        wrong = test.index.isin(test.index[dogs][:mistakes])
        place = np.where(cats | some, "indoors", "outdoors")
        assert (
            len(weak_values(spoiled(test, cats | wrong, 1), pd.DataFrame({"place": place})))
            == found
        )

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (lambda test: None, "no value in the test images"),
            (lambda test: "day", "one value only in the test images"),
            (lambda test: test["label"].str.upper(), "one value only in each class"),
            (lambda test: test["image_id"], "no value of 20 test images that have others beside"),
        ],
    )
    def test_an_attribute_that_cannot_be_compared_is_named(self, answers, value, reason):
        test = spoiled(answers(), lights()["light"] == "night", 0.3)
        attributes = pd.DataFrame({"sky": value(test)}, index=test.index, dtype=object)
        (found,) = weak_values(test, attributes)
        assert found["check"] == "attribute_accuracy"
        assert found["summary"].startswith(f"Not checked: sky has {reason}")
        weak, unchecked = weak_values(test, attributes.assign(light=lights()["light"]))
        assert (weak["evidence"]["value"], weak["evidence"]["comparisons"]) == ("night", 3)
        assert unchecked == found

    def test_few_test_images_compare_nothing(self, answers):
        (found,) = weak_values(answers(15), lights(15))
        assert found["summary"].startswith("Not checked: light has no value of 20 test images")

    @pytest.mark.parametrize("more", [0, 3])
    def test_values_beyond_the_worst_are_counted(self, answers, more):
        weak = MOST + more
        test = answers(200 * weak).assign(predicted=lambda rows: rows["label"])
        rooms = np.arange(len(test)) % (2 * weak)
        test = spoiled(test, rooms < weak, 0.9)
        found = weak_values(test, pd.DataFrame({"room": rooms.astype(str)}))
        listed = found[:MOST]
        ends = [each["evidence"]["difference"]["high"] for each in listed]
        assert ends == sorted(ends)
        assert all(int(each["evidence"]["value"]) < weak for each in listed)
        assert [each["evidence"] for each in found[MOST:]] == ([{"more": 3}] if more else [])
        if more:
            assert found[-1]["summary"].startswith("And 3 more values")
            assert found[-1]["severity"] == "high"

    def test_values_of_few_images_cost_no_comparison(self, answers):
        test, attributes = answers(), lights()
        attributes["name"] = test["image_id"]
        found = weak_values(spoiled(test, attributes["light"] == "night", 0.3), attributes)
        assert found[0]["evidence"]["comparisons"] == 3

    def test_without_attributes_it_says_that_nothing_was_checked(self, answers):
        test = answers()
        (found,) = weak_values(test, pd.DataFrame(index=test.index))
        assert found["severity"] == "low"
        assert "Not checked: the image table has no attributes." in found["summary"]

    def test_the_advice_names_the_sources_that_can_have_attributes(self, answers):
        test = answers()
        (found,) = weak_values(test, pd.DataFrame(index=test.index))
        named = {name for name in SOURCES if name in found["advice"]}
        able = {name for name, block in IngestParams() if hasattr(block, "attribute_columns")}
        assert able == {"parquet", "hub"}
        assert named == able | {"scenes"}
