"""Logits of many images equal those of one pass over all."""

import numpy as np
import torch
from torch import nn

from glasshead.models.tta import flip_tta
from glasshead.serving import predict
from glasshead.serving.predict import logits_of


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
    monkeypatch.setattr(predict, "BATCH", 5)
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
