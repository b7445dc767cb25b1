"""Classes and values of attributes with lower accuracy, against planted ones."""

import numpy as np
import pandas as pd
import pytest

from glasshead.audit.weak_groups import weak_classes, weak_values
from glasshead.errors import ArtifactError


def spoiled(test, group, share):
    """Return `test` with a `share` of the rows of a group answered by another class: dog, or of dogs ship."""
    drawn = np.random.default_rng(0).random(len(test)) < share
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
        assert "say 'dog'" in found["summary"]
        assert found["severity"] == "high"
        numbers = found["evidence"]
        assert numbers["comparisons"] == 4
        assert numbers["images"] == cats.sum()
        assert numbers["difference"]["high"] < -0.1
        assert sum(numbers["taken_for"].values()) == numbers["mistakes"]
        assert set(found["rows"]) <= set(test.loc[cats, "image_id"])

    @pytest.mark.parametrize(("share", "severity"), [(0.15, "medium"), (0.09, "low")])
    def test_severity_is_that_of_the_least_difference(self, answers, share, severity):
        test = answers(6000)
        (found,) = weak_classes(spoiled(test, test["label"] == "cat", share))
        assert found["severity"] == severity

    def test_alike_classes_are_blamed_in_5_percent_of_test_sets(self, answers):
        blamed = [bool(weak_classes(answers(600, seed))) for seed in range(300)]
        assert np.mean(blamed) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)

    def test_a_class_of_few_images_is_left_out(self, answers):
        test = answers()
        cats = np.flatnonzero(test["label"] == "cat")
        few = spoiled(test, test["label"] == "cat", 1).drop(index=cats[19:])
        assert weak_classes(few) == []


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
        night = attributes["light"] == "night"
        spoilt = spoiled(test, night, 0.3)
        unknown = attributes.where(attributes["light"] == "night")
        assert weak_values(spoilt, unknown) == []

    def test_values_of_few_images_cost_no_comparison(self, answers):
        test, attributes = answers(), lights()
        attributes["name"] = test["image_id"]
        (found,) = weak_values(spoiled(test, attributes["light"] == "night", 0.3), attributes)
        assert found["evidence"]["comparisons"] == 3

    def test_without_attributes_it_says_that_nothing_was_checked(self, answers):
        test = answers()
        (found,) = weak_values(test, pd.DataFrame(index=test.index))
        assert found["severity"] == "low"
        assert "Not checked: the image table has no attributes." in found["summary"]
        assert "attribute_columns" in found["advice"]

    def test_attributes_of_other_rows_are_refused(self, answers):
        with pytest.raises(ArtifactError, match="1,200 test predictions, but attributes of 1,199"):
            weak_values(answers(), lights(1199))
