"""What the figure of robustness shows, read back from its artists."""

import io

import numpy as np
import pandas as pd
import pytest

from glasshead.reporting.robustness_figure import plot_robustness


@pytest.fixture
def table() -> pd.DataFrame:
    rows = [
        ("clean", 0, "", 0.9, 0.8),
        ("jpeg", 80, "quality", 0.8, 0.7),
        ("jpeg", 5, "quality", 0.3, 0.2),
        ("made_$up_", 2, "1/255", 0.1, np.nan),
    ]
    table = pd.DataFrame(rows, columns=["perturbation", "strength", "unit", "accuracy", "low"])
    table = table.assign(high=table["low"] + 0.15, confidence=0.95, ece=0.05, n=40)
    bounds = {
        f"{name}_{end}": table[name] for name in ("confidence", "ece") for end in ("low", "high")
    }
    return table.assign(**bounds)


def test_each_panel_goes_from_clean_images_to_the_last_strength(table):
    figure = plot_robustness(table)
    jpeg, other = figure.axes
    assert [label.get_text() for label in jpeg.get_xticklabels()] == ["clean", "80", "5"]
    assert [label.get_text() for label in other.get_xticklabels()] == ["clean", "2"]
    accuracy, confidence, ece = jpeg.lines
    np.testing.assert_allclose(accuracy.get_ydata(), [0.9, 0.8, 0.3])
    np.testing.assert_allclose(confidence.get_ydata(), 0.95)
    np.testing.assert_allclose(ece.get_ydata(), 0.05)
    band = jpeg.collections[0].get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose([band.min(), band.max()], [0.2, 0.95])
    assert jpeg.get_xlabel() == "JPEG\n(quality)"
    figure.savefig(io.BytesIO(), dpi=30)


def test_without_any_change_it_says_why(table):
    figure = plot_robustness(table.head(1))
    assert "lists of strengths are empty" in figure.texts[0].get_text()
