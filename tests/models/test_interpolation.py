"""Resizing against torchvision and Pillow; spectra of sines and of noise against their closed forms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as tv

from glasshead.models.interpolation import high_frequency_fraction, resize

SIZE = 32


def wave(cycles: int) -> torch.Tensor:
    """Grey stripes, `cycles` an image, with an extremum at each border: repeating the border pixel continues them."""
    places = (torch.arange(SIZE, dtype=torch.float64) + 0.5) / SIZE
    row = 127.5 + 127 * torch.cos(2 * math.pi * cycles * places)
    return row.round().to(torch.uint8).expand(1, 3, SIZE, SIZE)


def noise(count: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)


class TestResize:
    @pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
    @pytest.mark.parametrize("size", [12, 50])
    def test_it_is_torchvisions_antialiased_resize(self, interpolation, size):
        images = noise().float() / 255
        expected = tv.resize(images, [size, size], tv.InterpolationMode(interpolation), None, True)
        torch.testing.assert_close(resize(images, size, interpolation), expected)

    def test_what_has_the_size_or_wants_none_stays(self):
        images = noise().float() / 255
        assert resize(images, SIZE, "bicubic") is images
        assert resize(images, 99, "none") is images

    @given(st.integers(1, 40), st.integers(0, 255))
    def test_a_single_colour_stays(self, size, level):
        images = torch.full((1, 3, 16, 16), level / 255)
        for interpolation in ("bilinear", "bicubic"):
            resized = resize(images, size, interpolation)
            torch.testing.assert_close(resized, images[..., :1, :1].expand(1, 3, size, size))

    def test_gradients_reach_every_pixel(self):
        images = (noise().float() / 255).requires_grad_()
        for interpolation in ("bilinear", "bicubic"):
            (gradient,) = torch.autograd.grad(resize(images, 48, interpolation).sum(), images)
            assert (gradient != 0).all()


class TestHighFrequencyFraction:
    @pytest.mark.parametrize(("cycles", "fraction"), [(1, 0), (7, 0), (9, 1), (15, 1)])
    def test_a_wave_is_coarse_up_to_half_of_nyquist(self, cycles, fraction):
        found = high_frequency_fraction(wave(cycles), 224, "none")
        assert float(found) == pytest.approx(fraction, abs=1e-4)

    def test_white_noise_has_what_lies_outside_the_circle(self):
        """Its energy is spread evenly, so the fraction is that of the frequencies beyond: about 1 − π / 16."""
        found = high_frequency_fraction(noise(100), 224, "none").mean()
        assert float(found) == pytest.approx(1 - math.pi / 16, abs=0.01)

    @pytest.mark.parametrize("cycles", [5, 6, 7])
    def test_bilinear_doubling_mirrors_a_wave(self, cycles):
        """Doubling is the filter ((1 + z⁻¹) / 2)³ on the wave with zeros put in between, which mirrors f to n − f.

        It lets cos³ θ of f's amplitude through and sin³ θ of its mirror's, θ = π f / 2n.
        """
        angle = math.pi * cycles / (2 * SIZE)
        expected = math.sin(angle) ** 6 / (math.sin(angle) ** 6 + math.cos(angle) ** 6)
        found = high_frequency_fraction(wave(cycles), 2 * SIZE, "bilinear")
        assert float(found) == pytest.approx(expected, abs=3e-5)

    def test_resizing_blurs_and_bicubic_does_so_less(self):
        images = noise()
        bilinear, bicubic, none = (
            high_frequency_fraction(images, 96, how) for how in ("bilinear", "bicubic", "none")
        )
        assert (bilinear < bicubic).all()
        assert (bicubic < none).all()

    def test_every_image_has_its_own_fraction(self):
        images = torch.cat([wave(2), noise(1), wave(12)])
        together = high_frequency_fraction(images, 48, "bicubic")
        apart = [high_frequency_fraction(image[None], 48, "bicubic") for image in images]
        torch.testing.assert_close(together, torch.cat(apart))

    @pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "none"])
    def test_one_colour_has_no_fraction(self, interpolation):
        flat = torch.tensor([10, 100, 233], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 30, 30)
        assert high_frequency_fraction(flat, 70, interpolation).isnan().all()
