"""Figures of risk: one scale with red high and blue low, curves as scikit-learn has them, and what is not known."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_curve

from glasshead.reporting.risk_figures import (
    plot_localisation,
    plot_training_history,
    risk_ablation_figure,
    risk_curves_figure,
)
from glasshead.reporting.risk_gallery import (
    Heated,
    Scale,
    heat_overlay,
    risk_gallery_figure,
    scale_of,
)

SCALE = Scale(12.0)


def texts(figure) -> str:
    return "\n".join(text.get_text() for axes in figure.axes for text in axes.texts)


def test_red_is_high_yellow_between_and_blue_low():
    low, middle, high = SCALE.colours(np.array([[-12.0, 0.0, 12.0]]))[0]
    assert high[0] > 0.6 > 0.3 > high[2]
    assert low[2] > 0.5 > 0.3 > low[0]
    assert min(middle[:2]) > middle[2] + 0.1


def test_the_colour_depends_on_the_value_alone_not_on_the_map():
    one, other = (SCALE.colours(np.array([[0.3, top]])) for top in (0.4, 1.0))
    np.testing.assert_array_equal(one[0, 0], other[0, 0])


def test_logits_near_a_half_and_far_beyond_differ_in_colour():
    colours = SCALE.colours(np.array([[-1.0, 0.0, 1.0, 3.0, 6.0, 12.0, 40.0]]))[0]
    assert (np.abs(np.diff(colours[:6], axis=0)).max(axis=1) > 0.1).all()
    np.testing.assert_array_equal(colours[5], colours[6])


def test_the_scale_holds_all_but_the_most_extreme_logits_and_those_that_decide_in_any_case():
    assert scale_of(np.linspace(-10, 100, 11_001)).most == pytest.approx(98.9)
    assert scale_of(np.linspace(-100, 10, 11_001)).most == pytest.approx(98.9)
    assert scale_of(np.full(4, -0.1)).most == 5
    assert scale_of(np.empty((0, 1, 8, 8))).most == 5


def test_the_overlay_mixes_heat_and_a_grey_image():
    pixels = np.full((3, 2, 2), 100, np.uint8)
    pixels[0] = 220
    mixed = heat_overlay(pixels, np.full((2, 2, 3), (0.2, 0.4, 1.0)))
    expected = 0.45 * 140 / 255 + 0.55 * np.array((0.2, 0.4, 1.0))
    np.testing.assert_allclose(mixed[1, 1], expected)


def test_a_gallery_has_three_pictures_an_image_and_states_its_scale():
    image = Heated(np.zeros((3, 4, 4), np.uint8), np.zeros((4, 4)), "a\nP = 0.5")
    figure = risk_gallery_figure("Highest risk", {"road": [image] * 3, "dark": [image]}, SCALE)
    assert len(figure.axes[0].images) == 12
    assert "All images and figures share the scale" in texts(figure).replace("\n", " ")
    assert figure.axes[1].get_xlim() == (-12, 12)
    ticks = [tick.get_text() for tick in figure.axes[1].get_xticklabels()]
    assert ticks == ["-12", "-1", "0", "1", "12"]


def test_the_roc_curve_is_scikit_learns():
    rng = np.random.default_rng(0)
    positives = rng.random(80) < 0.4
    scores = np.round(rng.normal(size=80) + positives, 1)
    drawn = risk_curves_figure({"road": (scores, positives)}).axes[0].lines[0]
    x, y, _ = roc_curve(positives, scores, drop_intermediate=False)
    np.testing.assert_allclose(drawn.get_xdata(), x)
    np.testing.assert_allclose(drawn.get_ydata(), y)


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_curves_of_one_side_alone_are_drawn(fraction):
    scores = np.arange(5.0)
    assert risk_curves_figure({"road": (scores, scores < 5 * fraction)}).axes


def test_what_the_log_does_not_know_is_said_in_its_panel():
    columns = ("loss", "bce", "ranking", "patch", "gap", "auroc", "auprc")
    log = pd.DataFrame({f"validation_{name}": [0.5, 0.4] for name in columns})
    log = log.assign(
        epoch=[1, 2], train_loss=1.0, train_gap=1.0,
        validation_iou=None, validation_pointing_game=None,
    )  # fmt: skip
    *known, unknown = plot_training_history(log).axes
    assert all(axes.lines for axes in known)
    assert [text.get_text() for text in unknown.texts] == ["not known"]


def test_every_rival_stands_beside_the_map_unless_there_are_no_masks():
    estimate = {"value": 0.6, "low": 0.5, "high": 0.7, "n": 9}
    endings = ("", "_activation", "_grad_cam", "_grad_cam_own", "_centre")
    metrics = {f"{name}{end}": estimate for name in ("pointing_game", "iou") for end in endings}
    left, _ = plot_localisation(metrics).axes
    assert len(left.get_yticklabels()) == 5
    nothing = {"iou": {"value": None, "low": None, "high": None, "n": 0}}
    assert "no masks" in plot_localisation(nothing).texts[0].get_text()


def test_an_ablation_has_a_row_a_variant():
    table = pd.DataFrame({"variant": ["as configured", "without patch"]})
    table = table.assign(iou=[0.5, 0.4], iou_low=[0.4, 0.3], iou_high=[0.6, 0.5])
    [axes] = risk_ablation_figure(table, ["iou"]).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == table["variant"].tolist()
