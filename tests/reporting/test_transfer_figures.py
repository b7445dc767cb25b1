"""What the figures of `transfer_comparison` show is what their tables say."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from glasshead.reporting.training_figures import STRATEGIES, convergence_figure, plot_interpolation
from glasshead.training.phases import Strategy


@pytest.fixture
def curves() -> pd.DataFrame:
    """Two networks of one strategy and two seeds; accuracy of seed 1 is 0.1 above that of seed 0."""
    return pd.DataFrame(
        {
            "architecture": architecture,
            "strategy": "full",
            "replicate": replicate,
            "epoch": epoch,
            "seconds": (10 + replicate) * epoch,
            "images_seen": 100 * epoch,
            "validation_accuracy": 0.2 * epoch + 0.1 * replicate,
        }
        for architecture in ("resnet18", "resnet50")
        for replicate in (0, 1)
        for epoch in (1, 2, 3)
    )


def test_each_panel_draws_the_mean_over_seeds_against_its_scale(curves):
    figure = convergence_figure(curves)
    scales = ([1, 2, 3], [10.5, 21, 31.5], [100, 200, 300])
    for axes, scale in zip(figure.axes, scales, strict=True):
        means = [line for line in axes.lines if not line.get_label().startswith("_")]
        assert [line.get_label() for line in means] == ["resnet18, full", "resnet50, full"]
        assert len(axes.lines) == 2 * (2 + 1)
        for line in means:
            np.testing.assert_allclose(line.get_xdata(), scale)
            np.testing.assert_allclose(line.get_ydata(), [0.25, 0.45, 0.65])
        assert means[0].get_linestyle() != means[1].get_linestyle()
        assert means[0].get_color() == means[1].get_color()


def test_every_strategy_has_a_colour_of_its_own():
    assert set(STRATEGIES) == set(Strategy.__args__)
    assert len(set(STRATEGIES.values())) == len(STRATEGIES)


def test_a_name_is_drawn_as_it_is(curves):
    """An underscore or dollar sign would else be taken for markup."""
    figure = convergence_figure(curves.assign(strategy="two_phase", architecture="res$net$"))
    figure.savefig("/dev/null", format="png")
    assert figure.axes[0].get_legend_handles_labels()[1][0].endswith("two_phase")


def test_interpolations_stand_in_order_with_their_intervals():
    table = pd.DataFrame(
        {
            "interpolation": ["bilinear", "none"],
            "accuracy": [0.9, 0.5],
            "low": [0.8, np.nan],
            "high": [0.95, np.nan],
            "high_frequency_fraction": [0.1, 0.3],
            "high_frequency_low": [0.05, 0.2],
            "high_frequency_high": [0.2, 0.4],
        }
    )
    figure = plot_interpolation(table)
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["bilinear", "none"]
    for axes, values in ((left, [0.9, 0.5]), (right, [0.1, 0.3])):
        points = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
        assert points == values
    figure.savefig("/dev/null", format="png")
    plt.close("all")
