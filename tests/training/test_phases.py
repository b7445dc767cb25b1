"""What is frozen in a phase, and which phases are refused."""

import pytest
import torch
from torch import nn

from glasshead.errors import ParameterError
from glasshead.training.phases import (
    ParameterGroup,
    Phase,
    check_phases,
    freeze_others,
    frozen_as_before,
    one_phase,
    set_training_mode,
)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False), nn.Dropout(), nn.Linear(4, 2)
    )  # fmt: skip


def phase(*names: str, epochs: int = 1, rate: float = 1.0) -> Phase:
    return Phase("head", epochs, (ParameterGroup(names, rate),))


def test_gradients_flow_to_the_phases_parameters_alone():
    model = network()
    with frozen_as_before(model):
        freeze_others(model, phase("4.weight", "1.bias"))
        free = {name for name, value in model.named_parameters() if value.requires_grad}
    assert free == {"4.weight", "1.bias"}
    assert all(value.requires_grad for value in model.parameters())


def test_what_was_frozen_stays_so_in_the_one_phase_and_afterwards():
    model = network()
    model[0].weight.requires_grad_(False)
    default = one_phase(model, 7)
    assert default.epochs == 7
    assert set(default.names) == {name for name, _ in model.named_parameters()} - {"0.weight"}
    with frozen_as_before(model):
        freeze_others(model, phase("0.weight"))
    assert not model[0].weight.requires_grad
    assert model[1].weight.requires_grad


@pytest.mark.parametrize(
    ("names", "training"), [(("4.weight",), False), (("4.weight", "1.bias"), True)]
)
def test_batch_norms_whose_parameters_are_all_frozen_keep_their_statistics(names, training):
    model = network().eval()
    freeze_others(model, phase(*names))
    set_training_mode(model)
    assert model[1].training is training
    assert model[2].training
    assert model[3].training
    model[1](torch.rand(5, 4, 2, 2))
    assert (model[1].running_mean != 0).any().item() is training


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "no phase"),
        ([phase("0.weight", "head.bias")], r"lacks: head\.bias"),
        ([phase()], "trains no parameter"),
        ([phase("0.weight", "0.weight")], "more than once"),
        ([phase("0.weight", epochs=0)], "`epochs`"),
        ([phase("0.weight", rate=0)], "rates"),
    ],
)
def test_a_phase_that_cannot_be_trained_is_refused(wrong, message):
    with pytest.raises(ParameterError, match=message):
        check_phases(network(), wrong)
