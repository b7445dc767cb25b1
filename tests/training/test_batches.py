"""Batches in memory and streamed, and statistics of their pixels against torch's own."""

import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glasshead.errors import ImageError, ParameterError
from glasshead.training.batches import (
    StreamedBatches,
    TensorBatches,
    channel_statistics,
    choose_batches,
    evenly_spaced,
)

IMAGES = torch.randint(
    0, 256, (50, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
LABELS = torch.arange(50) % 3


def source(rows: torch.Tensor) -> torch.Tensor:
    return IMAGES[rows]


@pytest.mark.parametrize(("spare", "kind"), [(0, TensorBatches), (-1, StreamedBatches)])
def test_the_budget_is_in_bytes_of_pixels(spare, kind):
    batches = choose_batches(source, LABELS, budget_bytes=50 * 60 + spare)
    assert isinstance(batches, kind)
    assert len(batches) == 50
    assert torch.equal(batches.labels, LABELS)
    rows = torch.tensor([7, 0, 49, 7])
    assert torch.equal(batches.take(rows), IMAGES[rows])


def test_a_tensor_is_filled_in_chunks(monkeypatch):
    monkeypatch.setattr("glasshead.training.batches._CHUNK", 7)
    asked = []

    def counted(rows: torch.Tensor) -> torch.Tensor:
        asked.append(len(rows))
        return IMAGES[rows]

    batches = choose_batches(counted, LABELS, budget_bytes=10**6)
    assert torch.equal(batches.images, IMAGES)
    assert max(asked) == 7


def test_no_rows_are_refused():
    with pytest.raises(ParameterError, match="empty"):
        choose_batches(source, LABELS[:0], budget_bytes=1)


@given(
    st.lists(st.lists(st.integers(0, 49), min_size=1, max_size=9), max_size=9),
    st.integers(1, 3),
    st.integers(0, 5),
)
def test_a_stream_is_the_batches_in_order(batches, threads, ahead):
    order = [torch.tensor(rows) for rows in batches]
    streamed = StreamedBatches(source, LABELS, threads, ahead).stream(order)
    for rows, got, same in zip(
        order, streamed, TensorBatches(IMAGES, LABELS).stream(order), strict=True
    ):
        assert torch.equal(got, IMAGES[rows])
        assert torch.equal(same, IMAGES[rows])


def test_a_stream_reads_ahead_but_not_further():
    asked = []

    def noted(rows: torch.Tensor) -> torch.Tensor:
        asked.append(int(rows[0]))
        return IMAGES[rows]

    order = torch.arange(20).split(1)
    stream = StreamedBatches(noted, LABELS, threads=1, ahead=3).stream(order)
    next(stream)
    stream.close()
    assert asked[0] == 0
    assert set(asked) <= set(range(4))
    assert "ThreadPoolExecutor" not in " ".join(thread.name for thread in threading.enumerate())


def test_an_error_arrives_at_its_batch():
    def failing(rows: torch.Tensor) -> torch.Tensor:
        if 3 in rows:
            raise ImageError("row 3 is cut short")
        return IMAGES[rows]

    stream = StreamedBatches(failing, LABELS).stream(torch.arange(6).split(2))
    assert torch.equal(next(stream), IMAGES[:2])
    with pytest.raises(ImageError, match="row 3"):
        next(stream)


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
