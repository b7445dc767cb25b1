"""What the evaluation of explanations of explanation methods says, read back from its texts."""

import io

import numpy as np
import pytest
from matplotlib.text import Text

from glasshead.explainers.measures import Measure
from glasshead.reporting.explanation_evaluation_figure import plot_explanation_evaluation


def measure(value: float, n: int = 32, width: float = 0.05, better: str = "higher") -> Measure:
    return Measure(value=value, low=value - width, high=value + width, better=better, n=n)


def measures(
    insertion: float, similarity: float, n: int = 32, broken: float = 0.0
) -> dict[str, Measure]:
    return {
        "insertion_auc": measure(insertion, n),
        "randomisation": measure(similarity, 16, better="lower"),
        "not_finite": measure(broken, n, 0, better="lower"),
    }


@pytest.fixture
def explanations() -> dict[str, dict[str, Measure]]:
    return {
        "saliency": measures(0.6, 0.1),
        "occlusion": measures(0.8, 0.72, n=16),
        "lrp": measures(0.1, 0.99),
        "random": measures(0.2, 1.0),
    }


def drawn_texts(explanations) -> list[str]:
    attributions = {
        "methods": np.array(["saliency", "occlusion", "lrp", "random"]),
        "not_applicable": np.array([["grad_cam", "it has no such layer"]]),
    }
    figure = plot_explanation_evaluation(explanations, attributions)
    figure.savefig(io.BytesIO(), dpi=30)
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_each_method_stands_with_its_verdict_and_what_it_was_measured_on(explanations):
    texts = drawn_texts(explanations)
    assert {"saliency", "? occlusion\non 16 images", "✗ lrp", "✗ random"} <= set(texts)
    foot = next(text for text in texts if "not applicable" in text)
    assert "grad_cam is not applicable: it has no such layer" in foot
    assert "of 0.7 or more (lrp)" in foot
    assert "(occlusion)" in foot
    assert "32 images" in foot


def test_broken_maps_have_a_column_where_there_are_any(explanations):
    assert "not\nfinite ↓" not in drawn_texts(explanations)
    explanations["saliency"] = measures(0.6, 0.1, broken=0.25)
    texts = drawn_texts(explanations)
    assert {"not\nfinite ↓", "0.250"} <= set(texts)
