"""Averages over views against models whose answer on each view is known."""

import pytest
import torch

from glasshead.models.inference import flip_tta


def images(seed=0):
    return torch.rand(3, 3, 5, 6, generator=torch.Generator().manual_seed(seed))


def corner(batch):
    """Return the top left pixel as logits: it tells which view was seen."""
    return batch[:, :, 0, 0]


def test_it_averages_an_image_and_its_mirror_image():
    given = images()
    expected = (given[:, :, 0, 0] + given[:, :, 0, -1]) / 2
    torch.testing.assert_close(flip_tta(corner)(given), expected)


def test_a_shift_gives_half_the_weight_to_moved_views():
    """Moved up and left, the corner shows the second pixel from it; moved down and right, its reflection does."""
    given = images()
    still = (given[:, :, 0, 0] + given[:, :, 0, -1]) / 2
    moved = (given[:, :, 1, 1] + given[:, :, 1, -2]) / 2
    torch.testing.assert_close(flip_tta(corner, shift=1)(given), (still + moved) / 2)


def test_mirroring_an_image_changes_nothing():
    weights = torch.rand(3, 5, 6)
    tta = flip_tta(lambda batch: (batch * weights).sum(dim=(2, 3)) ** 2)
    torch.testing.assert_close(tta(images()), tta(images().flip(-1)))


@pytest.mark.parametrize("shift", [0, 1])
def test_of_a_model_that_sees_only_means_of_flat_images_it_is_the_model(shift):
    flat = torch.rand(4, 3, 1, 1).expand(-1, -1, 8, 8)
    torch.testing.assert_close(
        flip_tta(lambda batch: batch.mean(dim=(2, 3)), shift)(flat), flat.mean(dim=(2, 3))
    )
