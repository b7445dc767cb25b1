"""CLIP's image processor against transformers' own, to the bit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2.functional import _geometry
from transformers import CLIPImageProcessor as Theirs

from glasshead.errors import BackboneError
from glasshead.models import clip_processor
from glasshead.models.clip_processor import CLIPImageProcessor
from glasshead.models.processor import load_processor

SIDES = st.integers(1, 70)
ABOVE = st.integers(2, 70)  # to one pixel torch does not resize bytes, neither for us nor for them
EXACT = st.fixed_dictionaries({"height": ABOVE, "width": ABOVE})
SETTINGS = st.fixed_dictionaries(
    {"size": EXACT | st.fixed_dictionaries({"shortest_edge": ABOVE}), "crop_size": EXACT},
    optional={
        "resample": st.sampled_from(range(4)),
        "do_resize": st.booleans(),
        "image_mean": st.lists(st.floats(0, 1), min_size=3, max_size=3),
        "image_std": st.lists(st.floats(0.1, 1), min_size=3, max_size=3),
    },
)
OPTIONS = st.fixed_dictionaries(
    {}, optional={"do_rescale": st.booleans(), "do_normalize": st.booleans()}
)


def noise(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Return random bytes."""
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def assert_same(found: dict[str, torch.Tensor], expected: Any) -> None:
    """Compare the pixels to the bit."""
    torch.testing.assert_close(found["pixel_values"], expected["pixel_values"], rtol=0, atol=0)


@settings(max_examples=300, deadline=None)
@given(
    given=SETTINGS,
    sizes=st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=3),
    mode=st.sampled_from(["RGB", "RGBA", "L", "LA", "P", "CMYK", "1"]),
    options=OPTIONS,
)
def test_images_become_the_pixels_that_transformers_makes(given, sizes, mode, options):
    images = [Image.fromarray(noise(h, w, 4), "RGBA").convert(mode) for h, w in sizes]
    ours, theirs = CLIPImageProcessor.model_validate(given), Theirs(**given)
    assert_same(ours(images, **options), theirs(images, return_tensors="pt", **options))


@settings(max_examples=200, deadline=None)
@given(given=SETTINGS, batch=st.integers(1, 3), height=SIDES, width=SIDES, options=OPTIONS)
def test_pixels_become_those_that_transformers_makes(given, batch, height, width, options):
    pixels = torch.from_numpy(noise(batch, 3, height, width))
    ours, theirs = CLIPImageProcessor.model_validate(given), Theirs(**given)
    assert_same(ours(pixels, **options), theirs(pixels, return_tensors="pt", **options))


@pytest.mark.parametrize("size", [(640, 480), (333, 1000), (2000, 301)])
@pytest.mark.parametrize("mode", range(4))
def test_photographs_of_usual_sizes_too(size, mode):
    image = Image.fromarray(noise(*size, 3))
    ours, theirs = CLIPImageProcessor(resample=mode), Theirs(resample=mode)
    assert_same(ours([image]), theirs([image], return_tensors="pt"))


@pytest.mark.parametrize("mode", range(4))
def test_where_bytes_are_not_resized_as_such_nothing_differs_either(monkeypatch, mode):
    """That is so on a GPU, and bilinearly on old CPUs."""
    pixels = torch.from_numpy(noise(2, 3, 301, 400) // 255 * 255)
    ours, theirs = CLIPImageProcessor(resample=mode), Theirs(resample=mode)
    options = {"do_rescale": False, "do_normalize": False}
    in_bytes = ours(pixels, **options)["pixel_values"]
    monkeypatch.setattr(clip_processor, "_resizes_bytes", lambda *_: False)
    monkeypatch.setattr(_geometry, "_do_native_uint8_resize_on_cpu", lambda _: False)
    found = ours(pixels, **options)
    assert_same(found, theirs(pixels, return_tensors="pt", **options))
    assert (found["pixel_values"] != in_bytes).any() == (mode != 0)


def test_what_is_transparent_by_its_palette_is_white():
    image = Image.fromarray(noise(9, 9) % 4).convert("P")
    image.info["transparency"] = 0
    ours, theirs = CLIPImageProcessor(), Theirs()
    found = ours([image], do_rescale=False, do_normalize=False)
    assert_same(found, theirs([image], return_tensors="pt", do_rescale=False, do_normalize=False))
    assert found["pixel_values"].max() == 255


def test_an_image_that_is_not_rgb_is_refused_where_none_is_to_be_converted():
    processor = CLIPImageProcessor(do_convert_rgb=False)
    with pytest.raises(ValueError, match="an image is L, not RGB"):
        processor([Image.new("L", (5, 5))])
    assert processor([Image.new("RGB", (5, 5))])["pixel_values"].shape == (1, 3, 224, 224)


def save(folder: Path, **files: Any) -> Path:
    """Save each file's content as JSON beside a configuration of CLIP."""
    for name, content in ({"config": {"model_type": "clip"}} | files).items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


SMALL = {"size": 30, "crop_size": 20}


@pytest.mark.parametrize(
    "files",
    [
        {"preprocessor_config": {}},
        {"preprocessor_config": {"crop_size": 224, "size": 224, "feature_extractor_type": "X"}},
        {"preprocessor_config": {"size": [30, 40], "crop_size": [20, 20]}},
        {"preprocessor_config": SMALL | {"resample": 2, "do_convert_rgb": False}},
        {"preprocessor_config": SMALL | {"do_resize": False, "image_mean": [0.5, 0.4, 0.3]}},
        {"preprocessor_config": SMALL | {"use_square_size": None}},
        {"preprocessor_config": SMALL | {"do_pad": None, "pad_size": None, "device": None}},
        {"processor_config": {"image_processor": SMALL}},
        {"processor_config": {"image_processor": SMALL}, "preprocessor_config": {}},
        {"processor_config": {"image_processor": {}}, "preprocessor_config": SMALL},
        {"processor_config": {"image_processor": None}, "preprocessor_config": SMALL},
        {"processor_config": {"processor_class": "X"}, "preprocessor_config": SMALL},
    ],
)
def test_the_settings_are_those_that_transformers_reads(tmp_path, files):
    ours, theirs = load_processor(save(tmp_path, **files)), Theirs.from_pretrained(tmp_path)
    assert ours.to_json_string() == theirs.to_json_string()
    images = [Image.fromarray(noise(50, 60, 3))]
    assert_same(ours(images), theirs(images, return_tensors="pt"))


@pytest.mark.parametrize("values", [0.5, [0.5]])
def test_one_value_stands_for_each_channel(tmp_path, values):
    save(tmp_path, preprocessor_config={"image_mean": values, "image_std": values})
    ours, theirs = load_processor(tmp_path), Theirs.from_pretrained(tmp_path)
    assert ours.image_mean == ours.image_std == [0.5, 0.5, 0.5]
    images = [Image.fromarray(noise(50, 60, 3))]
    assert_same(ours(images), theirs(images, return_tensors="pt"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"do_pad": True, "pad_size": 300}, "do_pad: not supported"),
        ({"use_square_size": True}, "use_square_size: not supported"),
        ({"default_to_square": True, "size": 30}, "default_to_square: not supported"),
        ({"do_normalize": False}, "do_normalize"),
        ({"do_rescale": False}, "do_rescale"),
        ({"rescale_factor": 1 / 127.5}, "only 1/255"),
        ({"resample": 4}, "resample"),
        ({"size": None}, "size"),
        ({"crop_size": None}, "crop_size"),
        ({"size": {"longest_edge": 30}}, "a size of longest_edge is not supported"),
        ({"size": {}}, "a size of nothing"),
        ({"size": 0}, "greater than 0"),
        ({"crop_size": {"shortest_edge": 30}}, "a size of shortest_edge"),
        ({"image_mean": [0.5, 0.5]}, "image_mean"),
        ({"image_std": 0}, "greater than 0"),
    ],
)
@pytest.mark.parametrize("name", ["processor_config", "preprocessor_config"])
def test_what_would_change_pixels_and_is_not_done_is_refused(tmp_path, name, changed, message):
    content = {"image_processor": changed} if name == "processor_config" else changed
    with pytest.raises(BackboneError, match=rf"no readable {name}\.json: (?s:.*){message}"):
        load_processor(save(tmp_path, **{name: content}))


@pytest.mark.parametrize("content", ["{", "[]", "null", "3", '"x"', "\xff"])
@pytest.mark.parametrize("name", ["processor_config", "preprocessor_config"])
def test_a_damaged_file_is_named(tmp_path, name, content):
    (save(tmp_path) / f"{name}.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(BackboneError, match=rf"no readable {name}\.json"):
        load_processor(tmp_path)


def test_a_folder_without_settings_is_refused(tmp_path):
    with pytest.raises(BackboneError, match=r"no readable preprocessor_config\.json"):
        load_processor(save(tmp_path))
