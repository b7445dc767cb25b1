"""Image processors against those of transformers and torchvision."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import functional
from transformers import CLIPImageProcessor as TheirCLIP
from transformers import SiglipImageProcessor as TheirSiglip

from glasshead.errors import BackboneError
from glasshead.models.processor import (
    CLIPImageProcessor,
    SiglipImageProcessor,
    load_processor,
    resize_and_crop,
)

LEVELS = 0 if torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512") else 1
SIDES = st.integers(1, 70)
ABOVE = st.integers(2, 70)  # to one pixel torch does not resize bytes, neither for us nor for them
EXACT = st.fixed_dictionaries({"height": ABOVE, "width": ABOVE})
SIZES = EXACT | st.fixed_dictionaries({"shortest_edge": ABOVE})
CLIP = st.fixed_dictionaries(
    {"size": SIZES, "crop_size": EXACT},
    optional={"resample": st.sampled_from(range(4)), "do_resize": st.booleans()},
)
SIGLIP = st.fixed_dictionaries({"size": EXACT}, optional={"resample": st.sampled_from(range(4))})


def noise(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Return random bytes."""
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def assert_same(prepared: torch.Tensor, theirs: Any, images: Any) -> None:
    """Compare pixels with those that transformers' processor makes of `images`, to the bit on a usual CPU."""
    assert prepared.dtype == torch.uint8
    expected = theirs(images, do_rescale=False, do_normalize=False, return_tensors="pt")
    difference = prepared.float() - expected["pixel_values"].float()
    assert difference.abs().max() <= LEVELS


@settings(max_examples=200, deadline=None)
@given(given=CLIP, sizes=st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=3))
def test_images_become_the_pixels_that_transformers_makes(given, sizes):
    images = [Image.fromarray(noise(h, w, 3)) for h, w in sizes]
    assert_same(CLIPImageProcessor(**given).prepare(images), TheirCLIP(**given), images)


@settings(max_examples=50, deadline=None)
@given(given=SIGLIP, sizes=st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=3))
def test_siglips_images_too(given, sizes):
    images = [Image.fromarray(noise(h, w, 3)) for h, w in sizes]
    assert_same(SiglipImageProcessor(**given).prepare(images), TheirSiglip(**given), images)


@settings(max_examples=100, deadline=None)
@given(given=CLIP, batch=st.integers(1, 3), height=SIDES, width=SIDES)
def test_pixels_become_those_that_transformers_makes(given, batch, height, width):
    pixels = torch.from_numpy(noise(batch, 3, height, width))
    assert_same(CLIPImageProcessor(**given).prepare(pixels), TheirCLIP(**given), pixels)


@pytest.mark.parametrize("size", [(640, 480), (333, 1000), (2000, 301)])
@pytest.mark.parametrize("mode", range(4))
def test_photographs_of_usual_sizes_too(size, mode):
    images = [Image.fromarray(noise(*size, 3))]
    assert_same(CLIPImageProcessor(resample=mode).prepare(images), TheirCLIP(resample=mode), images)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(40, 61), (61, 40), (24, 24), (23, 100), (7, 8)])
def test_images_for_a_network_are_those_of_torchvision(shape, mode):
    pixels = torch.from_numpy(noise(*shape, 3)).permute(2, 0, 1)
    resized = functional.resize(pixels, [24], functional.InterpolationMode(mode), antialias=True)
    expected = functional.center_crop(resized, [24, 24])
    prepared = resize_and_crop([Image.fromarray(noise(*shape, 3))], 24, mode)[0]
    assert (prepared.float() - expected.float()).abs().max() <= LEVELS


@pytest.mark.gpu
@pytest.mark.parametrize("mode", [0, 2, 3])  # torch has no Lanczos on a GPU
def test_a_gpu_makes_the_same_pixels_but_for_one_level(mode):
    processor, pixels = CLIPImageProcessor(resample=mode), torch.from_numpy(noise(2, 3, 301, 400))
    there = processor.prepare(pixels.cuda()).cpu()
    assert (there.float() - processor.prepare(pixels).float()).abs().max() <= 1


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
    ours, theirs = load_processor(save(tmp_path, **files)), TheirCLIP.from_pretrained(tmp_path)
    assert ours.to_json_string() == theirs.to_json_string()
    images = [Image.fromarray(noise(50, 60, 3))]
    assert_same(ours.prepare(images), theirs, images)


@pytest.mark.parametrize("given", [{}, {"size": {"height": 30, "width": 30}, "resample": 2}])
def test_siglips_settings_are_those_that_transformers_reads(tmp_path, given):
    save(tmp_path, config={"model_type": "siglip"}, preprocessor_config=given)
    ours, theirs = load_processor(tmp_path), TheirSiglip.from_pretrained(tmp_path)
    assert ours.to_json_string() == theirs.to_json_string()
    images = [Image.fromarray(noise(50, 60, 3))]
    assert_same(ours.prepare(images), theirs, images)


@pytest.mark.parametrize("values", [0.5, [0.5]])
def test_one_value_stands_for_each_channel(tmp_path, values):
    save(tmp_path, preprocessor_config={"image_mean": values, "image_std": values})
    ours, theirs = load_processor(tmp_path), TheirCLIP.from_pretrained(tmp_path)
    assert ours.image_mean == ours.image_std == [0.5, 0.5, 0.5]
    images = [Image.fromarray(noise(50, 60, 3))]
    assert_same(ours.prepare(images), theirs, images)


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
