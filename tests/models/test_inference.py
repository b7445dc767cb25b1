"""Logits of many images equal those of one pass over all."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from glasshead.errors import ParameterError
from glasshead.models import inference
from glasshead.models.inference import flip_tta, logits_of


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * 4 * 4, 5))


PIXELS = torch.randint(
    0, 256, (23, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
)


def test_batches_change_nothing_and_dropout_rests(monkeypatch):
    model = network().train()
    with torch.inference_mode():
        expected = network().eval()(PIXELS / 255).numpy()
    monkeypatch.setattr(inference, "BATCH", 5)
    seen = []

    def take(places):
        seen.append(len(places))
        return PIXELS[places]

    np.testing.assert_allclose(logits_of(model, take, 23, "cpu"), expected, atol=1e-6)
    assert seen == [5, 5, 5, 5, 3]


def test_another_way_to_compute_is_used_instead_of_the_model():
    model = network()
    augmented = logits_of(model, lambda places: PIXELS[places], 23, "cpu", flip_tta(model))
    plain = logits_of(model, lambda places: PIXELS[places], 23, "cpu")
    mirrored = logits_of(model, lambda places: PIXELS[places].flip(-1), 23, "cpu")
    np.testing.assert_allclose(augmented, (plain + mirrored) / 2, atol=1e-6)
    assert not np.allclose(augmented, plain)


class Scarce(nn.Linear):
    """Runs out of memory with more than `most` images at once."""

    def __init__(self, most: int) -> None:
        super().__init__(3 * 4 * 4, 5)
        self.most, self.tried = most, []

    def forward(self, images: Tensor) -> Tensor:
        self.tried.append(len(images))
        if len(images) > self.most:
            raise torch.OutOfMemoryError("planted")
        return super().forward(images.flatten(1))


def test_where_memory_ends_batches_are_halved_and_every_image_is_read_once(monkeypatch, caplog):
    monkeypatch.setattr(inference, "BATCH", 10)
    model, read = Scarce(3), []

    def take(places):
        read.extend(places.tolist())
        return PIXELS[places]

    found = logits_of(model, take, 23, "cpu")
    assert model.tried == [10, 5, 2, 2, 2, 2, 2, *[2] * 5, 2, 1]
    assert read == list(range(23))
    assert "continuing with 2" in caplog.text
    model.most = 23
    np.testing.assert_allclose(found, model(PIXELS / 255).detach().numpy(), atol=1e-6)


def test_one_image_that_does_not_fit_is_an_error():
    with pytest.raises(ParameterError, match="A single image does not fit into the memory of cpu"):
        logits_of(Scarce(0), lambda places: PIXELS[places], 23, "cpu")
