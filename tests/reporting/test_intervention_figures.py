"""What the figure of interventions shows, read back from its artists."""

import io

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

from glasshead.reporting.concept_figures import plot_interventions


def measures() -> dict[str, dict]:
    """Return curves over twelve steps, so that an order by text would mix them up."""
    found = {
        f"{name}/{step:02d}": {"value": step / 20, "low": step / 20 - 0.1, "high": 1.0, "n": 50}
        for name in ("intervention/uncertainty", "intervention/random", "known_concepts")
        for step in range(12)
    }
    for step in range(1, 12):
        found[f"known_concepts/{step:02d}"]["added"] = f"concept${step}"
    found["intervention/random/mean"] = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 50}
    return found


def drawn_texts(figure: Figure) -> list[str]:
    figure.savefig(io.BytesIO(), dpi=30)
    return [text.get_text() for text in figure.findobj(Text)]


def test_curves_have_their_values_intervals_and_names():
    figure = plot_interventions(measures())
    corrected, known = figure.axes
    assert [text.get_text() for text in corrected.get_legend().get_texts()] == [
        "the most uncertain first",
        "in random order",
    ]
    assert len(corrected.lines) == len(corrected.collections) == 2
    for axes in (corrected, known):
        np.testing.assert_allclose(axes.lines[0].get_ydata(), np.arange(12) / 20)
        band = axes.collections[0].get_paths()[0].vertices[:, 1]
        np.testing.assert_allclose([band.min(), band.max()], [-0.1, 1.0])
    assert [label.get_text() for label in known.get_xticklabels()][:2] == ["none", r"+ concept\$1"]
    assert any("50 test images" in text for text in drawn_texts(figure))


def test_an_undefined_interval_is_left_out():
    bare = {name: each | {"low": None, "high": None} for name, each in measures().items()}
    drawn_texts(plot_interventions(bare))
