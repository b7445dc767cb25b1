"""shap.plots leaves nothing behind, and its short arrows point the right way."""

from collections.abc import Iterator

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrow
from shap import Explanation
from shap.plots._style import get_style

from glasshead.reporting.panels import FOR
from glasshead.reporting.shap_plots import shap_plots, turn_short_arrows

VALUES = np.array([0.5, -0.3, 0.001, -0.001, 0.0])


def waterfall(figure: Figure) -> None:
    explanation = Explanation(VALUES, 0.1, feature_names=list("abcde"))
    with shap_plots(figure) as plots:
        plots.waterfall(explanation, show=False)


def state() -> tuple:
    draws = np.random.get_state()
    return (
        pyplot.get_fignums(),
        pyplot.isinteractive(),
        repr(get_style()),
        draws[1].tolist(),
        draws[2],
        pyplot.get_backend(),
    )


@pytest.fixture
def mine() -> Iterator[Figure]:
    figure = pyplot.figure()
    yield figure
    pyplot.close(figure)


def test_nothing_is_left_behind(mine):
    before = state()
    figure = Figure()
    waterfall(figure)
    with shap_plots(Figure()) as plots:
        plots.beeswarm(Explanation(np.stack([VALUES] * 3), np.zeros(3)), show=False)
    assert state() == before
    assert pyplot.gcf() is mine
    assert figure.axes
    assert not mine.axes


def test_nothing_is_left_behind_by_an_error():
    before = state()
    with pytest.raises(ValueError, match="single explanation"), shap_plots(Figure()) as plots:
        plots.waterfall(Explanation(np.zeros((2, 2)), np.zeros(2)), show=False)
    assert state() == before


def test_arrows_go_from_what_came_before_by_their_value():
    figure = Figure()
    waterfall(figure)
    axes = figure.axes[0]
    turn_short_arrows(axes)
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrow)]
    found = []
    for arrow in arrows:
        corners = arrow.get_xy()[:, 0]
        length = corners.max() - corners.min()
        points_right = corners[0] >= corners[3]
        assert points_right == same_color(arrow.get_facecolor(), FOR)
        found.append(length if points_right else -length)
    np.testing.assert_allclose(np.sort(found), np.sort(VALUES), atol=1e-6)
