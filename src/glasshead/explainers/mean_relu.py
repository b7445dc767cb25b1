"""The mean over a background of what ReLUs give: the inner loop of Shapley values of a network's logits."""

import torch
from jaxtyping import Float
from torch import Tensor


def mean_relu(
    present: Float[Tensor, "s n h"], absent: Float[Tensor, "s b h"]
) -> Float[Tensor, "s n h"]:
    """Return the mean over b of relu(present + absent); compiled on a CPU, by search elsewhere."""
    if present.device.type != "cpu":
        return mean_relu_by_search(present, absent)
    from glasshead.explainers.mean_relu_compiled import add_mean_relu  # takes a second

    mean = torch.zeros_like(present)
    add_mean_relu(present.contiguous().numpy(), absent.contiguous().numpy(), mean.numpy())
    return mean


def mean_relu_by_search(
    present: Float[Tensor, "s n h"], absent: Float[Tensor, "s b h"]
) -> Float[Tensor, "s n h"]:
    """Return the same in time that hardly depends on b.

    As a function of `present` it is piecewise linear: the sum of those background values that lie above -present, and
    `present` as many times. With the values sorted, and summed from the end, a binary search finds both.
    """
    s, b, h = absent.shape
    ascending = absent.transpose(1, 2).contiguous().sort(dim=2).values  # (s, h, b)
    from_here = ascending.flip(2).cumsum(2, dtype=torch.float64).flip(2).to(absent.dtype)
    from_here = torch.cat([from_here, from_here.new_zeros(s, h, 1)], dim=2)
    x = present.transpose(1, 2).contiguous()  # (s, h, n)
    index = torch.searchsorted(ascending, -x)
    return ((from_here.gather(2, index) + (b - index) * x) / b).transpose(1, 2)
