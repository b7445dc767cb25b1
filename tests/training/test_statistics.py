"""Statistics of pixels against torch's own."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glasshead.training.batches import StreamedBatches, TensorBatches
from glasshead.training.statistics import channel_statistics, evenly_spaced


@pytest.mark.parametrize("rows", [1, 7, 1100])
@pytest.mark.parametrize("streamed", [False, True])
def test_mean_and_deviation_are_those_of_all_pixels(rows, streamed):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (rows, 3, 4, 5), dtype=torch.uint8, generator=generator)
    images[:, 1] //= 2
    labels = torch.zeros(rows, dtype=torch.int64)
    whole = TensorBatches(images, labels)
    mean, std = channel_statistics(StreamedBatches(whole.take, labels) if streamed else whole)
    values = images.double() / 255
    assert mean == pytest.approx(values.mean(dim=(0, 2, 3)).tolist(), abs=1e-12)
    expected = values.std(dim=(0, 2, 3), correction=0).tolist()
    assert std == pytest.approx(expected, abs=1e-9)


def test_a_channel_that_does_not_vary_has_no_spread():
    images = torch.full((9, 3, 2, 2), 77, dtype=torch.uint8)
    mean, std = channel_statistics(TensorBatches(images, torch.zeros(9, dtype=torch.int64)))
    assert mean == pytest.approx([77 / 255] * 3)
    assert std == (0.0, 0.0, 0.0)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_evenly_spaced_indices_are_distinct_and_reach_over_all_rows(rows, most):
    indices = evenly_spaced(rows, most)
    assert len(indices) == len(indices.unique()) == min(rows, most)
    assert indices.min() == 0
    assert indices.max() == (rows - 1 if most > 1 else 0)
    gaps = indices.diff()
    assert not len(gaps) or gaps.max() - gaps.min() <= 1
