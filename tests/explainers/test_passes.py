"""Passes: order, size, memory that ends, threads that do not matter, parameters left as they were."""

import logging

import pytest
import torch
from torch import Tensor, nn

from glasshead.errors import ExplanationError
from glasshead.explainers.gradients import saliency
from glasshead.explainers.passes import Budget, frozen, in_passes, without_gradients


def test_rows_keep_their_order():
    rows = torch.arange(23.0)
    found = in_passes(lambda a, b: a - b, 4, rows, 2 * rows)
    torch.testing.assert_close(found, -rows, rtol=0, atol=0)


class TestWhereMemoryEnds:
    @staticmethod
    def scarce(most: int) -> tuple[list[int], nn.Module]:
        tried: list[int] = []

        class Scarce(nn.Module):
            def forward(self, images: Tensor) -> Tensor:
                tried.append(len(images))
                if len(images) > most:
                    raise torch.OutOfMemoryError("no memory")
                return images.flatten(1) ** 2

        return tried, Scarce()

    def test_passes_are_halved_with_a_warning(self, caplog):
        tried, model = self.scarce(most=2)
        images = torch.rand(11, 3, 2, 2)
        with caplog.at_level(logging.WARNING):
            found = saliency(model, images, torch.zeros(11, dtype=torch.long), Budget())
        expected = torch.zeros_like(images)
        expected[:, 0, 0, 0] = 2 * images[:, 0, 0, 0]
        torch.testing.assert_close(torch.from_numpy(found.values), expected)
        assert tried == [11, 5, 2, 2, 2, 2, 2, 1]
        assert "continuing with 2" in caplog.text

    def test_one_image_that_does_not_fit_is_an_error(self):
        _, model = self.scarce(most=0)
        with pytest.raises(ExplanationError, match="A single image"):
            saliency(model, torch.rand(3, 3, 2, 2), torch.zeros(3, dtype=torch.long), Budget())


@pytest.mark.parametrize(("side", "expected"), [(32, 8), (224, 2), (1000, 1)])
def test_large_images_get_smaller_batches(side, expected):
    found = Budget(batch_size=32).for_images(torch.zeros(1, 3, side, side), seed=7)
    assert (found.batch_size, found.seed) == (expected, 7)
    assert Budget(batch_size=1).for_images(torch.zeros(1, 3, 8, 8), seed=0).batch_size == 1


def test_without_gradients_logits_differ_by_rounding_alone(heads, scenes):
    with torch.no_grad():
        faster = without_gradients(heads)
        assert faster is not heads
        assert type(faster) is type(heads)
        torch.testing.assert_close(faster(scenes), heads(scenes), rtol=1e-4, atol=1e-4)
    assert without_gradients(len) is len


def test_results_do_not_depend_on_the_number_of_threads(heads, scenes, targets):
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(saliency(heads, scenes, targets, Budget(batch_size=1)).values)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert (found[0] == found[1]).all()


def test_parameters_are_frozen_and_only_those_that_were_not_are_freed_again():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    with frozen(model):
        assert not any(parameter.requires_grad for parameter in model.parameters())
    assert [parameter.requires_grad for parameter in model.parameters()] == [False] * 2 + [True] * 2
