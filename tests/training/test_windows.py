"""Windows against NumPy's reflected padding."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from glasshead.training.windows import reflected_windows


@given(st.data(), st.integers(1, 9), st.integers(1, 9), st.sampled_from([torch.uint8, torch.float]))
def test_a_window_is_cut_from_the_reflected_image(data, height, width, dtype):
    images = torch.arange(2 * 3 * height * width).view(2, 3, height, width).to(dtype)
    top, left = (
        torch.tensor(data.draw(st.lists(st.integers(1 - side, side - 1), min_size=2, max_size=2)))
        for side in (height, width)
    )
    mirrored = torch.tensor(data.draw(st.lists(st.booleans(), min_size=2, max_size=2)))
    windows = reflected_windows(images, top, left, mirrored)
    assert windows.dtype == dtype
    for index in range(2):
        border = ((0, 0), (height - 1,) * 2, (width - 1,) * 2)
        padded = np.pad(images[index].numpy(), border, mode="reflect")
        first, begin = height - 1 + int(top[index]), width - 1 + int(left[index])
        expected = padded[:, first : first + height, begin : begin + width]
        if mirrored[index]:
            expected = expected[..., ::-1]
        np.testing.assert_array_equal(windows[index].numpy(), expected)


def test_it_lies_in_memory_channels_last():
    still = torch.zeros(4, dtype=torch.long)
    windows = reflected_windows(torch.rand(4, 3, 8, 8), still, still, still.bool())
    assert windows.is_contiguous(memory_format=torch.channels_last)
