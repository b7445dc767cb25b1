"""Augmentation held to what it promises, on batches in which every change can be read off."""

import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glasshead.errors import ParameterError
from glasshead.training.augment import (
    PRESETS,
    Augmentation,
    AugmentParams,
    coin_of_content,
    cut_out,
    reflected_windows,
)


def pixels(n=12, size=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, size, size), generator=generator, dtype=torch.uint8)


def augmented(images, seed=0, epoch=None, labels=None, **params):
    """Return the augmented images and the targets; by default every image has a class of its own."""
    labels = torch.arange(len(images)) if labels is None else labels
    return Augmentation(AugmentParams(**params), len(images))(images, labels, seed, epoch)


def flat(values, size=16):
    """Return images (b, 3, size, size) of one grey each."""
    return torch.tensor(values).view(-1, 1, 1, 1).repeat(1, 3, size, size)


class TestResizedCrop:
    def test_each_group_is_cropped_and_scaled(self):
        images, targets = augmented(pixels(6, 32), crop_area=0.3, crop_scale=0.625, group=2)
        assert images.shape == (6, 3, 20, 20)
        assert torch.equal(targets, torch.eye(6))
        assert augmented(pixels(6, 32), crop_area=0.3)[0].shape == (6, 3, 32, 32)

    def test_a_crop_is_a_window_of_the_image(self):
        """On a plane of rising brightness, a crop of a fraction of the area spans that fraction of the rise."""
        rise = torch.arange(0, 64, dtype=torch.float32) / 63
        images = rise.expand(64, 3, 64, 64)
        cropped, _ = augmented(images, crop_area=0.25, group=1)
        spans = (cropped.amax(dim=(1, 2, 3)) - cropped.amin(dim=(1, 2, 3))).tolist()
        assert all(0.4 < span <= 1.001 for span in spans)  # sides of 0.5 · sqrt(3/4) and more
        assert len({round(span, 3) for span in spans}) > 20
        assert min(spans) < 0.6

    def test_the_scale_needs_a_crop(self):
        with pytest.raises(ValueError, match="needs a crop_area below 1"):
            AugmentParams(crop_scale=0.5)


class TestEveryPreset:
    def test_none_changes_nothing(self):
        images, targets = Augmentation(PRESETS["none"], 12)(pixels(), torch.arange(12), 0)
        assert torch.equal(images, pixels() / 255)
        assert torch.equal(targets, torch.eye(12))

    def test_each_adds_to_the_baseline(self):
        assert list(PRESETS) == [
            *("none", "baseline", "colour", "randaugment", "mixup", "cutmix", "mixup_cutmix")
        ]
        assert PRESETS["none"] == AugmentParams()
        added = {
            name: {
                field
                for field, value in PRESETS[name].model_dump().items()
                if value != getattr(PRESETS["baseline"], field)
            }
            for name in list(PRESETS)[1:]
        }
        assert added == {
            "baseline": set(),
            "colour": {"colour_jitter"},
            "randaugment": {"randaugment_operations"},
            "mixup": {"mixup"},
            "cutmix": {"cutmix"},
            "mixup_cutmix": {"mixup", "cutmix"},
        }

    @given(
        st.sampled_from(sorted(PRESETS)),
        st.integers(1, 9),
        st.integers(6, 12),
        st.booleans(),
        st.integers(0, 2**63 - 1),
    )
    def test_images_stay_images_and_targets_stay_probabilities(self, name, n, size, scaled, seed):
        given_images = pixels(n, size) / 255 if scaled else pixels(n, size)
        labels = torch.arange(n) % 4
        images, targets = Augmentation(PRESETS[name], 4)(given_images, labels, seed)
        assert images.shape == (n, 3, size, size)
        assert images.dtype == targets.dtype == torch.float32
        assert images.min() >= 0
        assert images.max() <= 1
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(n))
        assert (targets >= 0).all()

    @pytest.mark.parametrize("name", [name for name in PRESETS if name != "none"])
    def test_the_seed_decides_and_no_other_generator(self, name):
        def results(seed, others):
            random.seed(others)
            np.random.seed(others)
            torch.manual_seed(others)
            before = torch.get_rng_state()
            found = Augmentation(PRESETS[name], 12)(pixels(), torch.arange(12), seed)
            assert torch.equal(torch.get_rng_state(), before)
            return torch.cat([part.flatten() for part in found])

        assert torch.equal(results(3, others=0), results(3, others=1))
        assert not torch.equal(results(3, others=0), results(4, others=0))

    @pytest.mark.parametrize("name", PRESETS)
    def test_it_leaves_its_arguments_alone(self, name):
        images, labels = pixels() / 255, torch.arange(12)
        Augmentation(PRESETS[name], 12)(images, labels, 0)
        assert torch.equal(images, pixels() / 255)
        assert torch.equal(labels, torch.arange(12))

    @pytest.mark.gpu
    @pytest.mark.parametrize("name", PRESETS)
    def test_a_gpu_draws_what_a_cpu_draws(self, name):
        augmentation = Augmentation(PRESETS[name], 12)
        expected = augmentation(pixels(), torch.arange(12), 0)
        found = augmentation(pixels().cuda(), torch.arange(12).cuda(), 0)
        assert all(part.is_cuda for part in found)
        assert torch.equal(found[1].cpu(), expected[1])
        assert (found[0].cpu() - expected[0]).abs().mean() < 0.01


class TestWindow:
    def test_every_image_moves_on_its_own_and_shows_a_window_of_its_reflection(self):
        images, padding, size = pixels(60, 8), 2, 8
        found, targets = augmented(images, crop_padding=padding)
        places = []
        for image, window in zip(images, found, strict=True):
            padded = np.pad(image.numpy() / 255, ((0, 0), (2, 2), (2, 2)), mode="reflect")
            places += [
                (top, left)
                for top in range(5)
                for left in range(5)
                if np.allclose(
                    padded[:, top : top + size, left : left + size], window.numpy(), atol=1e-6
                )
            ]
        assert len(places) == 60
        assert {top for top, _ in places} == {left for _, left in places} == set(range(5))
        assert len(set(places)) > 15
        assert torch.equal(targets, torch.eye(60))

    @pytest.mark.parametrize("padding", [16, 17])
    def test_it_cannot_reach_further_than_the_image(self, padding):
        augmented(pixels(), crop_padding=15)
        with pytest.raises(
            ParameterError, match=f"crop_padding is {padding}, but .*side of 16 pixels"
        ):
            augmented(pixels(), crop_padding=padding)


def mirrored(images, found):
    """Return for each image whether it was mirrored, and make sure that nothing else was done to it."""
    same = (found == images / 255).flatten(1).all(dim=1)
    turned = (found == images.flip(-1) / 255).flatten(1).all(dim=1)
    assert (same ^ turned).all()
    return turned


class TestFlip:
    def test_random_ones_take_about_half_and_keep_the_labels(self):
        found, targets = augmented(pixels(400, 4), flip="random")
        assert 150 < mirrored(pixels(400, 4), found).sum() < 250
        assert torch.equal(targets, torch.eye(400))

    def test_alternating_ones_take_every_image_in_every_other_epoch(self):
        images = pixels(400, 4)
        turned = [
            mirrored(images, augmented(images, seed=epoch, epoch=epoch, flip="alternating")[0])
            for epoch in range(4)
        ]
        assert 150 < turned[0].sum() < 250
        for before, after in pairwise(turned):
            assert torch.equal(before, ~after)

    def test_alternating_ones_do_not_depend_on_the_batch(self):
        images, order = pixels(40, 4), torch.randperm(40)
        found, _ = augmented(images, epoch=1, flip="alternating")
        again, _ = augmented(images[order], epoch=1, flip="alternating")
        assert torch.equal(found[order], again)

    @pytest.mark.parametrize(
        "images",
        [pixels(2000, 3), flat(list(range(256))).byte(), torch.eye(768).view(-1, 3, 16, 16)],
        ids=["noise", "flat", "one_pixel"],
    )
    def test_the_coin_is_fair_even_where_images_differ_little(self, images):
        fraction = coin_of_content(images).float().mean().item()
        assert fraction == pytest.approx(0.5, abs=4 * 0.5 / len(images) ** 0.5)

    def test_the_coin_is_the_same_for_bytes_and_floats(self):
        assert torch.equal(coin_of_content(pixels(300)), coin_of_content(pixels(300) / 255))


class TestColour:
    def test_a_flat_grey_changes_by_its_brightness_alone_within_the_range(self):
        """Contrast, saturation and hue leave it as it is; SimCLR's strength s is a factor of 1 ± 0.8 s."""
        found, _ = augmented(flat([0.4] * 400, 4), colour_jitter=0.5, group=1)
        factors = found.flatten(1)[:, 0] / 0.4
        assert found.flatten(1).std(dim=1).max() < 1e-3
        assert 0.6 <= factors.min() < 0.65
        assert 1.35 < factors.max() <= 1.4
        assert factors.mean().item() == pytest.approx(1, abs=0.05)

    @pytest.mark.parametrize(
        "params",
        [{"colour_jitter": 1.0}, {"randaugment_operations": 3, "randaugment_magnitude": 30}],
    )
    def test_images_of_a_group_share_a_setting_and_groups_do_not(self, params):
        images = pixels(1).repeat(24, 1, 1, 1)
        found, targets = augmented(images, group=4, **params)
        groups = found.view(6, 4, -1)
        assert torch.equal(groups, groups[:, :1].expand(-1, 4, -1))
        assert len(groups[:, 0].unique(dim=0)) >= 5
        assert torch.equal(targets, torch.eye(24))

    def test_randaugment_at_no_magnitude_moves_nothing(self):
        """Two of its operations have no magnitude; they stretch contrast, and noise over the whole range has it all."""
        found, _ = augmented(pixels(64), randaugment_operations=1, randaugment_magnitude=0, group=1)
        assert (found - pixels(64) / 255).abs().mean(dim=(1, 2, 3)).max() < 0.1


class TestCutout:
    def test_it_blanks_one_square_in_the_batchs_mean_colour(self):
        images = pixels(200, 16) / 255
        torch.manual_seed(0)
        found = cut_out(images, 6)
        gone = (found != images).any(dim=1)
        for image, mask in zip(found, gone, strict=True):
            rows, columns = mask.any(dim=1), mask.any(dim=0)
            assert torch.equal(mask, rows[:, None] & columns[None, :])
            for span in (rows, columns):
                places = span.nonzero().flatten()
                assert len(places) == places[-1] - places[0] + 1
                assert len(places) == 6 or (len(places) < 6 and (span[0] or span[-1]))
            colour = image[:, mask].mean(dim=1)
            torch.testing.assert_close(colour, images.mean(dim=(0, 2, 3)))
        assert gone.any(dim=0).all()

    def test_it_keeps_the_labels(self):
        found, targets = augmented(pixels(), cutout=4)
        assert (found != pixels() / 255).any()
        assert torch.equal(targets, torch.eye(12))


class TestMixing:
    """With a class of its own for every image, the targets say what share each image has in each result."""

    @given(st.integers(0, 2**63 - 1), st.floats(0.1, 5))
    def test_mixup_mixes_images_as_it_mixes_targets(self, seed, alpha):
        images = pixels(6, 4) / 255
        found, targets = augmented(images, seed, mixup=alpha)
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(6))
        torch.testing.assert_close(found.flatten(1), targets @ images.flatten(1))

    def test_mixups_share_is_beta_distributed(self):
        """Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1))."""
        fractions = torch.stack(
            [augmented(pixels(2, 2), seed, mixup=0.5)[1][0, 0] for seed in range(600)]
        )
        assert fractions.mean().item() == pytest.approx(0.5, abs=0.05)
        assert fractions.var().item() == pytest.approx(1 / 8, abs=0.015)

    @given(st.integers(0, 2**63 - 1))
    def test_cutmix_pastes_a_rectangle_of_just_the_share_that_the_targets_say(self, seed):
        """Every image is of one grey, so that each pixel tells whose it is."""
        found, targets = augmented(flat([0.0, 0.2, 0.4, 0.6, 0.8], 10), seed, cutmix=1.0)
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(5))
        owners = (found[:, 0] * 5).round().long()
        for index in range(5):
            foreign = owners[index] != index
            fractions = torch.bincount(owners[index].flatten(), minlength=5) / 100
            torch.testing.assert_close(fractions, targets[index])
            rows, columns = foreign.any(dim=1), foreign.any(dim=0)
            assert torch.equal(foreign, rows[:, None] & columns[None, :])

    def test_with_both_a_batch_gets_one_of_the_two(self):
        """Greys a power of two apart: pixels of CutMix are whole images', those of MixUp are mixtures."""
        cut = []
        for seed in range(60):
            found, targets = augmented(flat([0.0, 1.0], 10), seed, mixup=1.0, cutmix=1.0)
            whole = bool(((found == 0) | (found == 1)).all())
            if not whole:
                assert len(found[0].unique()) == 1
            torch.testing.assert_close(found[0].mean(), targets[0, 1])
            cut.append(whole)
        assert 15 < sum(cut) < 45


@pytest.mark.parametrize(
    "wrong",
    [
        {"crop_padding": -1},
        {"flip": "vertical"},
        {"colour_jitter": 1.5},
        {"randaugment_magnitude": 31},
        {"group": 0},
        {"mixup": -0.1},
        {"cut_mix": 1.0},
    ],
)
def test_a_mistyped_parameter_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AugmentParams(**wrong)


@given(st.data(), st.integers(1, 9), st.integers(1, 9), st.sampled_from([torch.uint8, torch.float]))
def test_a_window_is_cut_from_the_reflected_image(data, height, width, dtype):
    images = torch.arange(2 * 3 * height * width).view(2, 3, height, width).to(dtype)
    top, left = (
        torch.tensor(data.draw(st.lists(st.integers(1 - side, side - 1), min_size=2, max_size=2)))
        for side in (height, width)
    )
    mirrored = torch.tensor(data.draw(st.lists(st.booleans(), min_size=2, max_size=2)))
    windows = reflected_windows(images, top, left, mirrored)
    assert windows.dtype == dtype
    for index in range(2):
        border = ((0, 0), (height - 1,) * 2, (width - 1,) * 2)
        padded = np.pad(images[index].numpy(), border, mode="reflect")
        first, begin = height - 1 + int(top[index]), width - 1 + int(left[index])
        expected = padded[:, first : first + height, begin : begin + width]
        if mirrored[index]:
            expected = expected[..., ::-1]
        np.testing.assert_array_equal(windows[index].numpy(), expected)


def test_it_lies_in_memory_channels_last():
    still = torch.zeros(4, dtype=torch.long)
    windows = reflected_windows(torch.rand(4, 3, 8, 8), still, still, still.bool())
    assert windows.is_contiguous(memory_format=torch.channels_last)
