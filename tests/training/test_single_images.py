"""Steps on one image: refused where a batch norm would see one value of it, taken where it sees more."""

import pytest
import torch
from torch import nn

from glasshead.errors import ParameterError
from glasshead.training.batches import TensorBatches
from glasshead.training.loop import fit
from glasshead.training.params import TrainingParams
from glasshead.training.phases import ParameterGroup, Phase

IMAGES = TensorBatches(
    torch.randint(
        0, 256, (4, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    ),
    torch.tensor([0, 1, 0, 1]),
)


def network(side: int) -> nn.Module:
    """Return a network whose batch norm sees `side` * `side` values of an image."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(side), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3 * side**2, 2)
    )


def steps(side: int, batch_size: int = 1, phases=None, train=IMAGES) -> int:
    """Return how many steps a training takes."""
    params = TrainingParams(epochs=2, batch_size=batch_size)
    history = fit(network(side), train, IMAGES, params, 0, device="cpu", phases=phases)
    return len(history.steps)


HEAD = Phase("head", 1, (ParameterGroup(("3.weight", "3.bias")),))
FULL = Phase("full", 1, (ParameterGroup(("1.weight", "1.bias", "3.weight", "3.bias")),))


@pytest.mark.parametrize("phases", [None, [HEAD, FULL]], ids=["one", "the-second"])
def test_one_value_a_channel_is_refused(phases):
    with pytest.raises(ParameterError, match=r"one value for each channel\. Set `batch_size` to 2"):
        steps(side=1, phases=phases)


def test_one_train_image_is_refused_whatever_the_batch_size():
    single = TensorBatches(IMAGES.images[:1], IMAGES.labels[:1])
    with pytest.raises(ParameterError, match="one value for each channel"):
        steps(side=1, batch_size=8, train=single)


def test_another_error_of_the_network_stays_what_it_is():
    def fail(module: nn.Module, _: tuple) -> None:
        if module.training:
            raise ValueError("of my own")

    broken = network(side=2)
    broken.register_forward_pre_hook(fail)
    with pytest.raises(ValueError, match="of my own"):
        fit(broken, IMAGES, IMAGES, TrainingParams(epochs=1, batch_size=2), 0, device="cpu")


def test_more_values_or_images_or_a_frozen_norm_are_trained_on():
    assert steps(side=2) == 8
    assert steps(side=1, batch_size=3) == 2
    assert steps(side=1, phases=[HEAD]) == 4
