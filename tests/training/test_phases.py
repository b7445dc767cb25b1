"""What is frozen in a phase, which phases are refused, and what every strategy trains, when and how fast."""

from typing import get_args

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn
from torchvision.models import get_model

from glasshead.errors import ParameterError
from glasshead.training.phases import (
    ParameterGroup,
    Phase,
    Strategy,
    StrategyParams,
    build_phases,
    freeze_others,
    frozen_as_before,
    one_phase,
    set_training_mode,
    without_batch_norms,
)

STAGES = {
    "stem": ("conv.weight",),
    "stage1": ("a.weight", "a.bias"),
    "stage2": ("b.weight",),
    "stage3": ("c.weight", "c.bias"),
}
HEAD = ("fc.weight", "fc.bias")


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


def test_mixing_needs_a_head_that_is_good_before_training():
    with pytest.raises(ValidationError, match="probe_first"):
        StrategyParams(mixing=0.5)
    assert StrategyParams(mixing=0.5, probe_first=True).mixing == 0.5


def test_without_batch_norms_a_stage_trains_its_filters_alone():
    model = timm.create_model("test_efficientnet", num_classes=2)
    names = tuple(name for name, _ in model.named_parameters())
    kept = without_batch_norms(model, {"all": names})["all"]
    assert set(names) - set(kept) == {name for name in names if ".bn" in f".{name}"}
    before = {name: value.clone() for name, value in model.named_buffers()}
    freeze_others(model, phase(*kept))
    set_training_mode(model)
    model(torch.rand(2, 3, 64, 64)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    assert {name for name, value in model.named_parameters() if value.grad is not None} == set(kept)


@pytest.mark.parametrize(
    ("architecture", "above"), [("mobilenet_v3_small", [2, 3]), ("efficientnet_b0", [0, 1])]
)
def test_a_frozen_backbone_drops_nothing_but_the_dropout_below_the_head_stays(architecture, above):
    """EfficientNet's blocks are dropped at random; both networks have dropout just below the head."""
    model = get_model(architecture, weights=None, num_classes=2)
    freeze_others(model, phase(f"classifier.{above[-1]}.weight", f"classifier.{above[-1]}.bias"))
    set_training_mode(model)
    assert not any(module.training for module in model.features.modules())
    assert all(model.classifier[place].training for place in above)
    freeze_others(model, one_phase(get_model(architecture, num_classes=2), 1))
    set_training_mode(model)
    assert all(module.training for module in model.modules())


def build(strategy: Strategy, epochs: int = 10, **params: float) -> tuple[Phase, ...]:
    return build_phases(StrategyParams(strategy=strategy, **params), epochs, STAGES, HEAD)


def test_frozen_trains_the_head_alone():
    assert build("frozen") == (Phase("frozen", 10, (ParameterGroup(HEAD, 1.0),)),)


@pytest.mark.parametrize(
    ("strategy", "trained"),
    [
        ("last_1", ("c.weight", "c.bias")),
        ("last_2", ("b.weight", "c.weight", "c.bias")),
        ("last_3", ("a.weight", "a.bias", "b.weight", "c.weight", "c.bias")),
        ("last_4", ("conv.weight", "a.weight", "a.bias", "b.weight", "c.weight", "c.bias")),
        ("full", ("conv.weight", "a.weight", "a.bias", "b.weight", "c.weight", "c.bias")),
    ],
)
def test_the_last_stages_train_at_the_backbones_rate(strategy, trained):
    (phase,) = build(strategy, backbone_rate=0.25)
    assert phase == Phase(strategy, 10, (ParameterGroup(trained, 0.25), ParameterGroup(HEAD, 1.0)))


def test_two_phase_trains_the_head_and_then_everything():
    head, full = build("two_phase", head_fraction=0.2, backbone_rate=0.5)
    assert head == Phase("head", 2, (ParameterGroup(HEAD, 1.0),))
    assert (full.name, full.epochs) == ("full", 8)
    assert [group.rate for group in full.groups] == [0.5, 1.0]
    everything = {name for names in (*STAGES.values(), HEAD) for name in names}
    assert {name for group in full.groups for name in group.names} == everything


@given(
    st.sampled_from(get_args(Strategy)),
    st.integers(2, 50),
    st.floats(0.01, 0.99),
)
def test_epochs_add_up_and_no_parameter_is_in_two_groups(strategy, epochs, fraction):
    phases = build(strategy, epochs, head_fraction=fraction)
    assert sum(phase.epochs for phase in phases) == epochs
    assert all(phase.epochs >= 1 for phase in phases)
    for phase in phases:
        names = [name for group in phase.groups for name in group.names]
        assert len(names) == len(set(names))


def test_two_phases_take_two_epochs():
    with pytest.raises(ParameterError, match="two epochs or more, not 1"):
        build("two_phase", epochs=1)


def test_more_stages_than_there_are_are_refused():
    few = {"stem": ("conv.weight",), "body": ("a.weight",)}
    with pytest.raises(ParameterError, match=r"last 3 stages, but this backbone has 2: stem, body"):
        build_phases(StrategyParams(strategy="last_3"), 5, few, HEAD)


@pytest.mark.parametrize(
    "wrong", [{"strategy": "last_9"}, {"head_fraction": 1.0}, {"backbone_rate": 0.0}, {"rate": 1.0}]
)
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        StrategyParams(**wrong)
