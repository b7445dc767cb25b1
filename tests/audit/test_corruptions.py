"""Corruptions against what their units promise."""

import numpy as np
import pytest
from PIL import Image
from scipy.stats import norm

from glasshead.audit.corruptions import CORRUPTIONS, add_gaussian_noise, blur, compress
from glasshead.seeds import generator


def draws() -> np.random.Generator:
    return generator(0, "test")


@pytest.fixture
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def noise_on_grey(strength: float) -> np.ndarray:
    grey = Image.new("RGB", (96, 64), (128, 128, 128))
    return np.asarray(add_gaussian_noise(grey, strength, draws()), float) - 128


def test_noise_has_its_standard_deviation_in_every_channel():
    noise = noise_on_grey(16.0)
    np.testing.assert_allclose(noise.std(axis=(0, 1)), 16, rtol=0.05)
    np.testing.assert_allclose(noise.mean(axis=(0, 1)), 0, atol=0.8)
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.05


def test_stronger_noise_is_the_same_noise_scaled():
    assert np.abs(2 * noise_on_grey(8.0) - noise_on_grey(16.0)).max() <= 1.5


@pytest.mark.parametrize("width", [100, 200])
def test_a_blurred_edge_is_the_normal_distribution_function(width):
    """The unit is a fraction of the shorter side, so that it means the same at any resolution."""
    pixels = np.zeros((width, 2 * width, 3), np.uint8)
    pixels[:, width:] = 255
    found = np.asarray(blur(Image.fromarray(pixels), 4.0, draws()))[width // 2, :, 0] / 255
    places = np.arange(2 * width) + 0.5 - width
    np.testing.assert_allclose(found, norm.cdf(places / (0.04 * width)), atol=0.02)


def test_jpeg_loses_more_at_lower_quality(picture):
    errors = [
        np.abs(np.asarray(compress(picture, quality, draws()), float) - np.asarray(picture)).mean()
        for quality in (95.0, 50.0, 20.0, 5.0)
    ]
    assert (np.diff(errors) > 1).all()


def test_strength_0_of_noise_and_blur_changes_nothing(picture):
    for corrupt in (add_gaussian_noise, blur):
        np.testing.assert_array_equal(corrupt(picture, 0.0, draws()), picture)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_size_and_mode_stay_and_the_same_draws_give_the_same_picture(name, picture):
    before = np.asarray(picture).copy()
    first, second = (CORRUPTIONS[name].corrupt(picture, 20.0, draws()) for _ in range(2))
    assert (first.size, first.mode) == (picture.size, "RGB")
    np.testing.assert_array_equal(first, second)
    assert (np.asarray(first) != before).any()
    np.testing.assert_array_equal(picture, before)
