"""Two ways to the mean of ReLUs against the plain one."""

import pytest
import torch

from glasshead.explainers.mean_relu import mean_relu, mean_relu_by_search


@pytest.mark.parametrize("way", [mean_relu, mean_relu_by_search])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [-9, -1, 0, 9])  # all units off, some, all on
def test_both_ways_give_the_mean(way, dtype, offset):
    draw = torch.Generator().manual_seed(0)
    present = torch.randn(3, 5, 7, generator=draw).to(dtype) + offset
    absent = torch.randn(3, 4, 7, generator=draw).to(dtype)
    absent[:, 1] = absent[:, 0]  # ties
    absent[0, 2] = -present[0, 1]  # exactly at the kink
    expected = (present[:, :, None] + absent[:, None]).relu().mean(dim=2)
    torch.testing.assert_close(way(present, absent), expected)
