"""The average against its recursion written out."""

import pytest
import torch
from torch import nn

from glasshead.training.steps import WeightAverage


def test_it_follows_the_weights_by_its_recursion():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 5.0)
    average = WeightAverage(model, 0.4)
    expected = 5.0
    for step, weight in enumerate((1.0, -2.0, 3.0, 0.5, 4.0), start=1):
        nn.init.constant_(model.weight, weight)
        average.update(model, step)
        decay = min(0.4, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight
    assert average.module.weight.item() == pytest.approx(expected)
    assert model.weight.item() == 4.0


def test_buffers_are_copied_and_the_module_is_for_evaluation():
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout())
    average = WeightAverage(model, 0.9)
    model(torch.rand(4, 2, 3, 3))
    average.copy_buffers(model)
    assert torch.equal(average.module[0].running_mean, model[0].running_mean)
    assert average.module[0].running_mean.data_ptr() != model[0].running_mean.data_ptr()
    assert not average.module.training
    assert not any(value.requires_grad for value in average.module.parameters())
