"""What the explanation figures show, read back from their artists."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from glasshead.reporting.explanation_figures import plot_attribution_maps


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


def drawn_texts(figure) -> list[str]:
    """Draw `figure`, as a broken label fails only then, and return all its texts."""
    figure.savefig(io.BytesIO(), dpi=30)
    return [text.get_text() for text in figure.findobj(Text)]


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
