"""Schedules against PyTorch's own, and against what their names say."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glasshead.training.schedules import ScheduleParams, rate_factor

NAMES = ["cosine", "one_cycle", "triangular", "constant"]


def factors(name: str, steps: int, warmup_share: float) -> list[float]:
    params = ScheduleParams(name=name, warmup_share=warmup_share)
    return [rate_factor(params, step, steps) for step in range(steps)]


def torch_factors(scheduler: type, steps: int, **settings: object) -> list[float]:
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    schedule = scheduler(optimiser, **settings)
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
    return found


def test_cosine_without_warm_up_is_pytorchs():
    expected = torch_factors(torch.optim.lr_scheduler.CosineAnnealingLR, 37, T_max=37)
    assert factors("cosine", 37, 0.0) == pytest.approx(expected)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_one_cycle_is_pytorchs(share):
    expected = torch_factors(
        torch.optim.lr_scheduler.OneCycleLR,
        60,
        max_lr=1.0,
        total_steps=60,
        pct_start=share,
        cycle_momentum=False,
    )
    assert factors("one_cycle", 60, share) == pytest.approx(expected)


def test_triangular_is_two_straight_lines():
    assert factors("triangular", 10, 0.4) == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    )


def test_constant_rises_and_stays():
    assert factors("constant", 6, 0.5) == [0.25, 0.5, 0.75, 1, 1, 1]


@given(st.sampled_from(NAMES), st.integers(1, 300), st.floats(0, 1))
def test_every_factor_is_usable_and_the_rate_rises_before_it_falls(name, steps, share):
    found = factors(name, steps, share)
    assert all(0 < factor <= 1 for factor in found)
    top = found.index(max(found))
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)


@pytest.mark.parametrize("wrong", [{"name": "step"}, {"warmup_share": 1.5}, {"gamma": 1}])
def test_a_mistyped_parameter_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ScheduleParams(**wrong)
