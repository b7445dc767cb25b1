"""What the explanation figures show, read back from their artists."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from glasshead.reporting.explanation_figures import (
    AGAINST,
    FOR,
    NO_CONCEPTS,
    plot_attribution_maps,
    plot_shapley_global,
    plot_shapley_images,
)


@pytest.fixture
def examples() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": ["test/0", "test/1", "test/2"],
            "label": ["cat", "dog", "$ship_"],
            "predicted": ["dog", "dog", "$ship_"],
            "confidence": [0.6, 0.9, 0.8],
            "correct": [False, True, True],
        }
    )


@pytest.fixture
def example_images() -> dict[str, np.ndarray]:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 3, 8, 8), dtype=np.uint8)
    return {"pixels": pixels}


@pytest.fixture
def shapley() -> dict[str, np.ndarray]:
    return {
        "players": np.array(["legs", "wheels"]),
        "values": np.array([[0.3, -0.1], [-0.4, 0.1], [0.2, 0.2]]),
        "base": np.array([0.1, 0.5, 0.2]),
        "output": np.array([0.3, 0.2, 0.6]),
        "concepts": np.array([[0.2, 0.8, 0.9, 0.1], [0.6, 0.4, 0.3, 0.7], [0.5, 0.5, 0.0, 1.0]]),
        "concept_value": np.array(["two", "four", "no", "yes"]),
        "concept_player": np.array([0, 0, 1, 1]),
    }


@pytest.fixture
def no_concepts(shapley) -> dict[str, np.ndarray]:
    return shapley | {"players": shapley["players"][:0], "values": shapley["values"][:, :0]}


def drawn_texts(figure) -> list[str]:
    """Draw `figure`, as a broken label fails only then, and return all its texts."""
    figure.savefig(io.BytesIO(), dpi=30)
    return [text.get_text() for text in figure.findobj(Text)]


def test_each_image_says_its_verdict_and_the_step_that_the_bars_add_up_to(
    examples, example_images, shapley
):
    texts = drawn_texts(plot_shapley_images(examples, example_images, shapley))
    assert "✗ cat taken for dog, confidence 0.60" in texts
    assert "✓ dog, confidence 0.90" in texts
    assert {"dog:\n0.10 → 0.30", "dog:\n0.50 → 0.20"} <= set(texts)


def test_bars_are_signed_sorted_and_named_by_the_likeliest_value(examples, example_images, shapley):
    figure = plot_shapley_images(examples, example_images, shapley)
    axes = [
        axes for axes in figure.findobj(lambda artist: hasattr(artist, "patches")) if axes.patches
    ]
    first, second, _ = axes
    assert [bar.get_width() for bar in first.patches] == [-0.1, 0.3]  # the largest on top
    assert [label.get_text() for label in first.get_yticklabels()] == [
        "wheels: no 0.90",
        "legs: four 0.80",
    ]
    assert [label.get_text() for label in second.get_yticklabels()] == [
        "wheels: yes 0.70",
        "legs: two 0.60",
    ]
    assert first.get_xlim() == second.get_xlim()
    assert [to_hex(bar.get_facecolor()).upper() for bar in first.patches] == [AGAINST, FOR]


def test_global_figure_ranks_subtasks_by_mean_absolute_value(shapley):
    figure = plot_shapley_global(shapley)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["wheels", "legs"]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [0.4 / 3, 0.3])
    assert len(axes.collections[0].get_offsets()) == 6


def test_a_classifier_without_concepts_gets_a_message(examples, example_images, no_concepts):
    assert NO_CONCEPTS in drawn_texts(plot_shapley_global(no_concepts))
    assert NO_CONCEPTS in drawn_texts(plot_shapley_images(examples, example_images, no_concepts))


def test_maps_state_their_scale_and_fill_it_symmetrically(examples, example_images):
    maps = np.zeros((3, 3, 8, 8), dtype=np.float32)
    maps[0, :, :4] = -0.1  # summed over channels: -0.3 on half of the pixels
    maps[1, 0, 2, 2] = 0.5
    figure = plot_attribution_maps(examples, example_images, {"integrated_gradients": maps})
    texts = drawn_texts(figure)
    assert "✗ cat taken for dog, confidence 0.60\nscale: 0.3 logits a pixel" in texts
    pictures = [axes.images for axes in figure.findobj(lambda artist: hasattr(artist, "images"))]
    image, alone, (grey, overlay) = [group for group in pictures if group][:3]
    np.testing.assert_array_equal(
        image[0].get_array(), example_images["pixels"][0].transpose(1, 2, 0)
    )
    np.testing.assert_allclose(np.unique(alone[0].get_array()), [-1, 0], atol=1e-6)
    assert alone[0].get_clim() == overlay.get_clim() == (-1, 1)
    np.testing.assert_allclose(np.unique(overlay.get_alpha()), [0, 1], atol=1e-6)
    assert grey.get_array().shape == (8, 8)


@pytest.mark.parametrize("count", [1, 6])  # less than a row of panels, and more
def test_any_number_of_images_is_drawn(examples, example_images, count):
    rows = pd.concat([examples] * 2).iloc[:count]
    pixels = {"pixels": np.concatenate([example_images["pixels"]] * 2)}
    maps = {"integrated_gradients": np.zeros((6, 3, 8, 8), dtype=np.float32)}
    texts = drawn_texts(plot_attribution_maps(rows, pixels, maps))
    assert sum("confidence" in text for text in texts) == count
