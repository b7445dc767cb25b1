import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from glasshead.calibration.metrics import ReliabilityCurve
from glasshead.reporting.evaluation_figures import (
    confused_pairs_figure,
    confusion_matrix_figure,
    plot_class_recall,
    reliability_figure,
)

AWKWARD = ["$", "$x_{", "cat/tabby", "名", "a" * 255, "two\nlines"]


class FakeImages:
    """Three images, of the grey level of their row."""

    def frame(self):
        return pd.DataFrame({"image_id": ["c", "a", "b"]})

    def pil(self, row):
        return Image.new("RGB", (4, 4), (row, row, row))


def render(figure):
    """Return the drawn figure's pixels; raises where a text cannot be laid out."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=40)
    return np.asarray(Image.open(buffer))


def texts(axes):
    return [text.get_text() for text in axes.texts]


def curve(gap=0.0):
    confidence = np.array([0.5, 0.9])
    return ReliabilityCurve(confidence, confidence - gap, np.array([0.25, 0.75]))


def test_confusion_matrix_shades_shares_and_writes_counts():
    figure = confusion_matrix_figure(np.array([[3, 1], [0, 0]]), ["cat", "dog"])
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0, 0]])
    assert texts(axes) == ["3", "1"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")


def test_a_large_confusion_matrix_is_left_without_numbers():
    figure = confusion_matrix_figure(np.eye(120, dtype=int), [str(k) for k in range(120)])
    assert texts(figure.axes[0]) == []
    assert max(figure.get_size_inches()) < 20


def test_recall_puts_the_worst_class_on_top_and_keeps_the_undefined():
    table = pd.DataFrame(
        {
            "class": ["good", "bad", "rare"],
            "n": [10, 20, 1],
            "recall": [0.9, 0.5, np.nan],
            "low": [0.6, 0.3, np.nan],
            "high": [1.0, 0.7, np.nan],
        }
    )
    axes = plot_class_recall(table).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["rare (n = 1)", "good (n = 10)", "bad (n = 20)"]
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [np.nan, 0.9, 0.5])


@pytest.mark.parametrize("heads", [1, 4, 6])
def test_reliability_has_a_panel_a_head_with_both_errors(heads):
    panels = {f"head {k}": (curve(0.2), curve(0.01)) for k in range(heads)}
    figure = reliability_figure(panels)
    assert [axes.get_title() for axes in figure.axes] == [
        f"{name}\nECE 0.200 → 0.010" for name in panels
    ]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:3] == ["calibrated", "before scaling", "after scaling"]
    assert render(figure).size


def test_the_marks_of_reliability_are_as_large_as_those_that_its_legend_explains():
    ten = ReliabilityCurve(np.array([0.4, 0.9]), np.array([0.5, 0.9]), np.array([0.1, 0.9]))
    figure = reliability_figure({"classifier": (ten, ten)})
    (legend,) = figure.legends
    sizes = {
        text.get_text(): handle.get_sizes()[0]
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
        if hasattr(handle, "get_sizes")
    }
    small, large = figure.axes[0].collections[0].get_sizes()
    assert sizes["bin with 10% of the images"] == pytest.approx(small)
    assert sizes["bin with 50% of the images"] < large


def test_confused_pairs_show_the_images_by_id():
    pairs = pd.DataFrame(
        {
            "true": ["cat", "dog"],
            "predicted": ["dog", "cat"],
            "count": [2, 1],
            "fraction": [0.5, 0.125],
            "examples": [json.dumps(["b", "c"]), json.dumps(["a"])],
        }
    )
    figure = confused_pairs_figure(pairs, FakeImages())
    shown = [int(axes.images[0].get_array()[0, 0, 0]) for axes in figure.axes if axes.images]
    assert shown == [2, 0, 1]
    assert texts(figure.axes[3]) == ["dog\ntaken for cat\nn = 1, 12.5% of the class"]


def test_no_confusion_is_said_in_words():
    empty = pd.DataFrame(columns=["true", "predicted", "count", "fraction", "examples"])
    figure = confused_pairs_figure(empty, FakeImages())
    assert [text.get_text() for text in figure.texts] == ["No test image was misclassified"]


@pytest.mark.filterwarnings("ignore:Glyph:UserWarning")
def test_awkward_names_are_drawn_in_every_figure():
    k = len(AWKWARD)
    recall = pd.DataFrame({"class": AWKWARD, "n": 5, "recall": 0.5, "low": 0.2, "high": 0.8})
    pairs = pd.DataFrame(
        {"true": AWKWARD, "predicted": AWKWARD, "count": 1, "fraction": 0.1, "examples": '["a"]'}
    )
    figures = [
        confusion_matrix_figure(np.eye(k, dtype=int), AWKWARD),
        plot_class_recall(recall),
        reliability_figure({name: (curve(), curve()) for name in AWKWARD}),
        confused_pairs_figure(pairs, FakeImages()),
    ]
    for figure in figures:
        width = render(figure).shape[1]
        assert width == pytest.approx(40 * figure.get_size_inches()[0], abs=1)
