"""Scenes: each record stands for itself, masks and attributes tell the truth, defects are where the table says."""

import io
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydantic import ValidationError
from scipy.stats import chi2_contingency

from glasshead.errors import ImageError
from glasshead.images.decode import decode_rgb
from glasshead.images.scenes import (
    CLASSES,
    COLOURS,
    HABITATS,
    Defects,
    Scene,
    ScenesParams,
    Shortcut,
    draw_scene,
    generate_scenes,
    make_record,
)

SIZES = ("small", "medium", "large")


def scenes(seed=0, **changes):
    return list(generate_scenes(ScenesParams(**({"train": 60, "test": 20} | changes)), seed))


def pixels(record):
    return np.asarray(decode_rgb(record["image"]), dtype=int)


def mask(record):
    return np.asarray(Image.open(io.BytesIO(record["mask"])))


def planted(records, defect):
    """Return the records that carry `defect`, with its detail, by image id."""
    return {
        record["image_id"]: (record, detail)
        for record in records
        for name, detail in record["defects"]
        if name == defect
    }


@pytest.fixture(scope="module")
def many():
    return scenes(train=1500, test=300)


class TestIdentity:
    def test_a_record_depends_on_seed_split_and_index_alone(self):
        short, long = scenes(train=30, test=10), scenes(train=60, test=30)
        assert short[:30] == long[:30]
        assert short[30:] == long[60:70]
        assert make_record(ScenesParams(), 0, "train", 17) == long[17]

    def test_a_seed_reproduces_the_bytes_and_another_gives_others(self):
        assert scenes(seed=3) == scenes(seed=3)
        ours, others = scenes(seed=3), scenes(seed=4)
        assert not {record["image"] for record in ours} & {record["image"] for record in others}

    def test_no_image_stands_twice(self, many):
        assert len({record["image"] for record in many}) == len(many)
        assert len({record["image_id"] for record in many}) == len(many)

    def test_classes_come_in_turn_in_both_splits(self, many):
        counts = Counter((record["given_split"], record["label"]) for record in many)
        assert counts == {("train", name): 150 for name in CLASSES} | {
            ("test", name): 30 for name in CLASSES
        }

    def test_the_default_has_6000_images_of_cifars_classes(self):
        params = ScenesParams()
        assert params.train + params.test == 6000
        assert params.test >= 1000
        assert (
            *("airplane", "automobile", "bird", "cat", "deer"),
            *("dog", "frog", "horse", "ship", "truck"),
        ) == CLASSES

    @pytest.mark.parametrize("size", [16, 32, 48, 224])
    def test_the_size_is_a_parameter(self, size):
        record = make_record(ScenesParams(size=size), 0, "train", 0)
        image = Image.open(io.BytesIO(record["image"]))
        assert (image.size, image.mode) == ((size, size), "RGB")
        assert mask(record).shape == (size, size)


class TestTruth:
    def test_the_object_covers_8_to_30_percent(self, many):
        fractions = np.array([(mask(record) > 0).mean() for record in many])
        assert 0.08 <= np.median(fractions) <= 0.30
        labels = np.array([record["label"] for record in many])
        for name in CLASSES:
            assert 0.05 <= np.median(fractions[labels == name]) <= 0.35, name
        assert (fractions > 0).mean() > 0.999

    def test_masks_are_black_or_white(self, many):
        assert {value for record in many[:50] for value in np.unique(mask(record))} == {0, 255}

    def test_objects_lie_off_centre(self, many):
        centres = []
        for record in many[:400]:
            rows, columns = np.nonzero(mask(record))
            centres.append((columns.mean() / 31 - 0.5, rows.mean() / 31 - 0.5))
        assert (np.std(centres, axis=0) > 0.08).all()
        assert (np.abs(np.mean(centres, axis=0)) < 0.08).all()

    def test_the_mask_is_where_the_object_is(self):
        """Two drawings that differ in the object's hue alone differ inside the mask, and nearly nowhere else."""
        scene, other = (repainted(colour) for colour in ((0.95, 0.05, 0.05), (0.05, 0.05, 0.95)))
        np.testing.assert_array_equal(scene.mask, other.mask)
        differs = np.abs(scene.pixels.astype(int) - other.pixels).max(axis=2) > 25
        inside = scene.mask > 0
        assert differs[inside].mean() > 0.6  # windows, eyes and tyres keep their own colour
        assert differs[~inside].sum() < 0.5 * inside.sum()  # half-covered pixels on the outline

    def test_attributes_hold_known_values_only(self, many):
        for name, values in {"colour": COLOURS, "habitat": HABITATS, "size": SIZES}.items():
            assert {record["attributes"][name] for record in many} == set(values)

    @pytest.mark.parametrize("name", ["colour", "habitat", "size"])
    def test_attributes_are_independent_of_the_class(self, many, name):
        table = pd.crosstab(
            [record["label"] for record in many],
            [record["attributes"][name] for record in many],
        )
        assert chi2_contingency(table).pvalue > 0.001

    def test_a_larger_size_covers_more(self, many):
        fractions = pd.Series([(mask(record) > 0).mean() for record in many])
        mean = fractions.groupby([record["attributes"]["size"] for record in many]).mean()
        assert mean["small"] < mean["medium"] < mean["large"]

    def test_habitats_and_colours_show_in_the_pixels(self, many):
        def mean(selected, inside):
            found = [pixels(r)[(mask(r) > 0) == inside].mean(axis=0) for r in selected]
            return np.mean(found, axis=0)

        by = {
            (name, value): [r for r in many if r["attributes"][name] == value]
            for name, value in (("colour", "red"), ("colour", "blue"), ("habitat", "forest"))
        }
        red, blue = mean(by["colour", "red"], True), mean(by["colour", "blue"], True)
        assert red[0] - red[2] > 40
        assert blue[2] - blue[0] > 40
        sky = [r for r in many if r["attributes"]["habitat"] == "sky"]
        assert mean(sky, False).mean() - mean(by["habitat", "forest"], False).mean() > 40

    def test_occluders_and_noise_can_be_switched_off(self):
        def drawn(noise, occluders):
            rng = np.random.default_rng(5)
            return draw_scene("ship", 64, rng, noise, occluders)

        clean, noisy, hidden = drawn(0.0, 0.0), drawn(0.2, 0.0), drawn(0.0, 1.0)
        np.testing.assert_array_equal(clean.mask, noisy.mask)
        assert np.abs(np.diff(noisy.pixels.astype(int), axis=0)).mean() > (
            2 * np.abs(np.diff(clean.pixels.astype(int), axis=0)).mean()
        )
        assert ((hidden.mask > 0) <= (clean.mask > 0)).all()


def repainted(colour):
    """Draw one truck without light or noise in `colour` by naming every hue so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("glasshead.images.scenes.COLOURS", dict.fromkeys(COLOURS, colour))
        return draw_scene("truck", 32, np.random.default_rng(2), 0.0, 0.0)


class TestDefects:
    def test_none_is_planted_by_default(self, many):
        assert not any(record["defects"] for record in many)

    def test_a_shortcut_is_a_mark_on_its_class_at_its_rates(self):
        shortcut = Shortcut(class_name="ship", train_rate=0.5, test_rate=1.0)
        marked = scenes(train=400, test=50, defects=Defects(shortcut=shortcut))
        plain = scenes(train=400, test=50)
        found = planted(marked, "shortcut")
        ships = [r for r in plain if r["label"] == "ship"]
        assert {record["label"] for record, _ in found.values()} == {"ship"}
        in_test = [name for name in found if name.startswith("test")]
        assert len(in_test) == sum(r["given_split"] == "test" for r in ships) == 5
        assert 10 <= len(found) - 5 <= 30  # of 40 at one half: binomial, 99.8 %
        for before, after in zip(plain, marked, strict=True):
            if after["image_id"] not in found:
                assert before == after
                continue
            x, y, width, height = map(int, found[after["image_id"]][1].split(","))
            inside = np.zeros((32, 32), dtype=bool)
            inside[y : y + height, x : x + width] = True
            assert inside.sum() == width * height > 0
            assert (pixels(after)[inside] == (255, 0, 220)).all()
            np.testing.assert_array_equal(pixels(after)[~inside], pixels(before)[~inside])
            assert not mask(after)[inside].any()
            assert before["label"] == after["label"]

    def test_a_mark_that_hides_the_object_leaves_its_mask(self, monkeypatch):
        full = Scene(np.zeros((32, 32, 3), np.uint8), np.full((32, 32), 255, np.uint8), {})
        monkeypatch.setattr("glasshead.images.scenes.draw_scene", lambda *arguments: full)
        shortcut = Shortcut(class_name="airplane", train_rate=1.0)
        params = ScenesParams(defects=Defects(shortcut=shortcut))
        record = make_record(params, 0, "train", 0)
        marked = (pixels(record) == (255, 0, 220)).all(axis=2)
        np.testing.assert_array_equal(mask(record) == 0, marked)

    def test_label_noise_records_the_true_class_and_spares_the_test_split(self):
        noisy = scenes(train=400, test=50, defects=Defects(label_noise=0.25))
        plain = scenes(train=400, test=50)
        found = planted(noisy, "label_noise")
        assert 65 <= len(found) <= 140  # binomial(400, 0.25), far beyond 99.9 %
        for before, after in zip(plain, noisy, strict=True):
            assert before["image"] == after["image"]
            if after["image_id"] in found:
                assert found[after["image_id"]][1] == before["label"] != after["label"]
                assert after["given_split"] == "train"
            else:
                assert before["label"] == after["label"]
        assert len({record["label"] for record, _ in found.values()}) == 10

    def test_near_duplicates_are_altered_copies_of_the_train_rows_they_name(self):
        leaky = scenes(train=60, test=60, defects=Defects(near_duplicates=0.5))
        by_id = {record["image_id"]: record for record in leaky}
        found = planted(leaky, "near_duplicate")
        assert 15 <= len(found) <= 45
        assert all(name.startswith("test/") for name in found)
        for record, source in found.values():
            copied = by_id[source]
            assert copied["given_split"] == "train"
            assert (record["label"], record["attributes"], record["mask"]) == (
                *(copied["label"], copied["attributes"], copied["mask"]),
            )
            assert record["image"] != copied["image"]
            a, b = (pixels(part).ravel() for part in (record, copied))
            assert np.corrcoef(a, b)[0, 1] > 0.95
        plain = scenes(train=60, test=60)
        assert [r for r in leaky if r["image_id"] not in found] == [
            r for r in plain if r["image_id"] not in found
        ]

    def test_corrupt_files_cannot_be_decoded_and_all_others_can(self):
        cut = scenes(train=100, test=100, defects=Defects(corrupt=0.2))
        found = planted(cut, "corrupt")
        assert {name.split("/")[0] for name in found} == {"train", "test"}
        assert 20 <= len(found) <= 65
        for record in cut:
            if record["image_id"] in found:
                assert found[record["image_id"]][1] == f"cut to {len(record['image'])} bytes"
                with pytest.raises(ImageError):
                    decode_rgb(record["image"])
            else:
                decode_rgb(record["image"])

    def test_a_row_can_carry_several(self):
        everything = Defects(
            shortcut=Shortcut(class_name="cat", train_rate=1, test_rate=1),
            label_noise=1,
            near_duplicates=1,
            corrupt=1,
        )
        records = scenes(train=10, test=10, defects=everything)
        cat = records[CLASSES.index("cat")]
        assert [name for name, _ in cat["defects"]] == ["shortcut", "label_noise", "corrupt"]
        assert all(r["defects"][0][0] == "near_duplicate" for r in records[10:])


@pytest.mark.parametrize(
    "wrong",
    [
        {"train": 0},
        {"size": 8},
        {"noise": -0.1},
        {"occluder_rate": 1.5},
        {"defects": {"corrupt": 2}},
        {"defects": {"shortcut": {"class_name": "tractor"}}},
        {"defects": {"blur": 0.1}},
        {"sizes": 32},
    ],
)
def test_a_mistyped_parameter_is_refused(wrong):
    with pytest.raises(ValidationError):
        ScenesParams(**wrong)
