"""Batches come in order, whatever computes or copies them ahead."""

import threading

import pytest
import torch

from glasshead.device import computed_ahead, copied_ahead


@pytest.mark.parametrize("threads", [1, 3])
def test_results_keep_their_order_and_no_more_than_the_depth_is_computed_ahead(threads):
    started, lock = [], threading.Lock()

    def square(item: int) -> int:
        with lock:
            started.append(item)
        return item**2

    results = computed_ahead(square, range(20), threads, 4)
    assert next(results) == 0
    assert (
        len(started) <= 6
    )  # the one that was asked for, the next four, and one that takes its place
    assert list(results) == [item**2 for item in range(1, 20)]


def test_an_error_reaches_the_caller_and_stops_the_rest():
    started = []

    def fail(item: int) -> int:
        started.append(item)
        if item == 2:
            raise ValueError("two")
        return item

    results = computed_ahead(fail, range(1000), 1, 2)
    with pytest.raises(ValueError, match="two"):
        list(results)
    assert len(started) < 10


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_copies_are_the_batches_in_order_on_the_device(device, count):
    batches = [torch.full((3, 4), value) for value in range(count)]
    if device == "cuda":
        batches = [batch.pin_memory() for batch in batches]
    copied = list(copied_ahead(iter(batches), device))
    assert all(batch.device.type == device for batch in copied)
    assert [batch[0, 0].item() for batch in copied] == list(range(count))


def test_a_batch_is_asked_for_when_the_last_one_is_handed_out():
    asked = []

    def batches():
        for value in range(3):
            asked.append(value)
            yield torch.tensor([value])

    copied = copied_ahead(batches(), "cpu")
    next(copied)
    assert asked == [0, 1]
