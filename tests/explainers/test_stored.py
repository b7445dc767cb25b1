"""Maps read back from the arrays on disk."""

import numpy as np
import pytest

from glasshead.explainers.methods import method_maps


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    signed = np.zeros((2, 3, 4, 4), dtype=np.float32)
    signed[:, 0], signed[:, 1] = -3, 1
    everything = np.arange(2)
    return {
        "methods": np.array(["integrated_gradients", "saliency", "occlusion", "edge_detector"]),
        "integrated_gradients": signed,
        "integrated_gradients/base": np.zeros(2),
        "integrated_gradients/output": np.zeros(2),
        "integrated_gradients/rows": everything,
        "saliency": signed,
        "saliency/rows": everything,
        "occlusion": np.full((1, 4, 4), -0.5, dtype=np.float32),
        "occlusion/rows": np.array([1]),
        "edge_detector": np.ones((2, 4, 4), dtype=np.float32),
        "edge_detector/rows": everything,
    }


def test_methods_keep_their_order_and_baselines_are_left_out(arrays):
    assert list(method_maps(arrays)) == ["integrated_gradients", "saliency", "occlusion"]


def test_contributions_are_summed_over_channels_and_gradients_by_magnitude(arrays):
    maps = method_maps(arrays)
    np.testing.assert_array_equal(maps["integrated_gradients"].of(0), np.full((4, 4), -2.0))
    np.testing.assert_array_equal(maps["saliency"].of(0), np.full((4, 4), 3.0))
    assert [found.unsigned for found in maps.values()] == [False, True, False]


def test_a_map_is_found_by_the_row_that_it_explains(arrays):
    occlusion = method_maps(arrays)["occlusion"]
    assert occlusion.of(0) is None
    np.testing.assert_array_equal(occlusion.of(1), np.full((4, 4), -0.5))
