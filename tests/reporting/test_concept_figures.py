"""What the figures of concepts show, read back from their artists."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from glasshead.reporting.concept_figures import (
    NO_INTERACTIONS,
    plot_interactions,
    plot_shapley_beeswarm,
    plot_shapley_global,
    plot_shapley_images,
    plot_shapley_mistake,
    plot_shapley_right,
)
from glasshead.reporting.panels import AGAINST, FOR

Arrays = dict[str, np.ndarray]


@pytest.fixture
def examples() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": ["test/0", "test/1", "test/2", "test/3"],
            "label": ["cat", "dog", "$ship_", "dog"],
            "predicted": ["dog", "dog", "$ship_", "cat"],
            "confidence": [0.6, 0.9, 0.8, 0.95],
            "correct": [False, True, True, False],
            "shown": [True, True, True, False],
        }
    )


@pytest.fixture
def example_images() -> Arrays:
    pixels = np.random.default_rng(0).integers(0, 255, (4, 3, 8, 8), dtype=np.uint8)
    return {"pixels": pixels}


@pytest.fixture
def shapley() -> Arrays:
    values = np.array([[0.3, -0.1], [-0.4, 0.1], [0.2, 0.2], [0.1, 0.0]])
    base = np.array([0.1, 0.5, 0.2, 0.3])
    pair = np.array([0.1, -0.3, 0.1, 0.1])  # half of the interaction of legs and wheels
    interactions = np.stack(
        [np.stack([values[:, 0] - pair, pair], 1), np.stack([pair, values[:, 1] - pair], 1)], 1
    )
    return {
        "unit": np.array("probability"),
        "players": np.array(["legs", "wheels"]),
        "values": values,
        "base": base,
        "output": base + values.sum(axis=1),
        "interactions": interactions,
        "concepts": np.array(
            [[0.2, 0.8, 0.9, 0.1], [0.6, 0.4, 0.3, 0.7], [0.5, 0.5, 0.0, 1.0], [1.0, 0, 0, 1.0]]
        ),
        "concept_value": np.array(["two", "four", "no", "yes"]),
        "concept_player": np.array([0, 0, 1, 1]),
    }


def drawn_texts(figure: Figure) -> list[str]:
    """Draw `figure`, as a broken label fails only then, and return all its texts."""
    figure.savefig(io.BytesIO(), dpi=30)
    return [text.get_text() for text in figure.findobj(Text)]


def bars(figure: Figure) -> list:
    return [axes for axes in figure.findobj(lambda each: hasattr(each, "patches")) if axes.patches]


def test_each_shown_image_says_its_verdict_and_the_step_that_the_bars_add_up_to(
    examples, example_images, shapley
):
    texts = drawn_texts(plot_shapley_images(examples, example_images, shapley))
    assert "✗ cat taken for dog, confidence 0.60" in texts
    assert "✓ dog, confidence 0.90" in texts
    assert {"dog:\n0.10 → 0.30", "dog:\n0.50 → 0.20"} <= set(texts)
    assert not any("0.95" in text for text in texts)  # of the image that is not shown


def test_bars_are_signed_sorted_and_named_by_the_likeliest_value(examples, example_images, shapley):
    first, second, _ = bars(plot_shapley_images(examples, example_images, shapley))
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


def test_what_rounds_to_nothing_has_no_sign(examples, example_images, shapley):
    shapley["values"][0] = [-0.001, 0.004]
    shapley["base"][0] = -0.001
    figure = plot_shapley_images(examples, example_images, shapley)
    first, second, _ = ([text.get_text() for text in axes.texts] for axes in bars(figure))
    assert (first, second) == (["0.00", "0.00"], ["+0.10", "-0.40"])
    assert "dog:\n0.00 → 0.30" in drawn_texts(figure)


def test_rows_that_are_not_shown_leave_images_and_bars_in_step(examples, example_images, shapley):
    last = examples.assign(shown=[False, False, True, True])
    figure = plot_shapley_images(last, example_images, shapley)
    _, second = bars(figure)
    assert [bar.get_width() for bar in second.patches] == [0.0, 0.1]
    pictures = figure.findobj(lambda each: hasattr(each, "images"))
    drawn = [axes.images[0].get_array() for axes in pictures if axes.images]
    for array, pixels in zip(drawn, example_images["pixels"][2:], strict=True):
        np.testing.assert_array_equal(array, pixels.transpose(1, 2, 0))


def test_single_values_are_named_as_values_of_their_concept(examples, example_images, shapley):
    single = shapley | {
        "players": np.array(["legs/two", "legs/four", "wheels/no", "wheels/yes"]),
        "values": np.array([[0.3, 0.2, 0.1, 0.0]] * 4),
        "concept_player": np.arange(4),
    }
    first, *_ = bars(plot_shapley_images(examples, example_images, single))
    assert [label.get_text() for label in first.get_yticklabels()] == [
        "wheels: yes 0.10",
        "wheels: no 0.90",
        "legs: four 0.80",
        "legs: two 0.20",
    ]


def test_of_many_players_the_largest_are_drawn(examples, example_images, shapley):
    many = shapley | {
        "players": np.array([f"c/{k}" for k in range(20)]),
        "values": np.tile(np.arange(20) / 100, (4, 1)),
        "concepts": np.full((4, 20), 0.05),
        "concept_value": np.arange(20).astype(str),
        "concept_player": np.arange(20),
    }
    figure = plot_shapley_images(examples, example_images, many)
    np.testing.assert_allclose(
        [bar.get_width() for bar in bars(figure)[0].patches], np.arange(4, 20) / 100
    )
    swarm = plot_shapley_beeswarm(many)
    assert len(swarm.axes[0].get_yticklabels()) == 16
    for drawn in (figure, swarm):
        assert any("the 16 largest of 20" in text for text in drawn_texts(drawn))
    assert "Sum of 5 other features" in drawn_texts(plot_shapley_global(many))
    assert "5 other features" in drawn_texts(plot_shapley_mistake(examples, many))


def test_estimates_have_error_bars_of_95_percent(examples, example_images, shapley):
    estimated = shapley | {"standard_error": np.full((4, 2), 0.05)}
    figure = plot_shapley_images(examples, example_images, estimated)
    first, *_ = bars(figure)
    (errors,) = [each.errorbar for each in first.containers if hasattr(each, "errorbar")]
    segments = errors.lines[2][0].get_segments()
    np.testing.assert_allclose(segments[0][:, 0], [-0.1 - 0.098, -0.1 + 0.098])
    assert any("95 % error bars" in text for text in drawn_texts(figure))


@pytest.mark.parametrize("unit", ["probability", "logit"])
def test_every_figure_says_its_unit(examples, example_images, shapley, unit):
    other = {"probability": "logit", "logit": "probability of the predicted"}[unit]
    given = shapley | {"unit": np.array(unit)}
    figures = [
        plot_shapley_images(examples, example_images, given),
        plot_shapley_global(given),
        plot_shapley_beeswarm(given),
        plot_shapley_mistake(examples, given),
        plot_shapley_right(examples, given),
        plot_interactions(given),
    ]
    for figure in figures:
        texts = " ".join(drawn_texts(figure))
        assert unit in texts
        assert other not in texts


def test_global_figure_ranks_players_by_mean_absolute_value(shapley):
    (axes,) = plot_shapley_global(shapley).axes
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == ["legs", "wheels"]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [0.25, 0.1])


def test_beeswarm_has_a_dot_for_every_image_and_player(shapley):
    axes, _ = plot_shapley_beeswarm(shapley).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["wheels", "legs"]
    wheels, legs = (dots for dots in axes.collections if len(dots.get_offsets()))
    for dots, values in ((legs, shapley["values"][:, 0]), (wheels, shapley["values"][:, 1])):
        np.testing.assert_allclose(np.sort(dots.get_offsets()[:, 0]), np.sort(values))


def test_waterfalls_are_of_shown_images_wrong_and_right(examples, shapley):
    texts = drawn_texts(plot_shapley_mistake(examples, shapley))
    assert "Most confident mistake shown: ✗ cat taken for dog, confidence 0.60" in texts
    assert "legs: four 0.80" in texts
    three = pd.concat([examples, examples.iloc[[1]].assign(confidence=0.85)])
    arrays = {
        name: np.concatenate([array, array[[1]]]) if array.shape[:1] == (4,) else array
        for name, array in shapley.items()
        if name not in ("concept_value", "concept_player")
    } | {name: shapley[name] for name in ("concept_value", "concept_player")}
    texts = drawn_texts(plot_shapley_right(three, arrays))
    assert "Typical right one: ✓ dog, confidence 0.85" in texts


def test_no_mistake_or_nothing_right_is_said(examples, shapley):
    right, wrong = (examples.assign(correct=correct) for correct in (True, False))
    assert "None of the shown images is a mistake." in drawn_texts(
        plot_shapley_mistake(right, shapley)
    )
    assert "None of the shown images is classified correctly." in drawn_texts(
        plot_shapley_right(wrong, shapley)
    )


def test_the_interaction_of_a_pair_is_the_sum_of_its_two_halves(shapley):
    figure = plot_interactions(shapley)
    (drawn,) = figure.axes[0].images
    np.testing.assert_allclose(drawn.get_array()[[0, 1], [1, 0]], 2 * 0.15)
    assert drawn.get_array().mask[[0, 1], [0, 1]].all()  # what a player adds alone
    assert drawn_texts(figure).count("0.300") == 2


def test_without_interactions_the_figure_says_why(shapley):
    del shapley["interactions"]
    assert NO_INTERACTIONS in drawn_texts(plot_interactions(shapley))


def test_one_image_and_one_player_are_drawn(examples, example_images, shapley):
    one = examples.iloc[:1]
    few = {name: array[:1] for name, array in shapley.items() if array.ndim} | {
        "unit": shapley["unit"],
        "values": np.zeros((1, 1)),
        "interactions": np.zeros((1, 1, 1)),
        "concepts": shapley["concepts"][:1, :2],
        "concept_value": shapley["concept_value"][:2],
        "concept_player": np.array([0, 0]),
    }
    for figure in (
        plot_shapley_images(one, example_images, few),
        plot_shapley_global(few),
        plot_shapley_beeswarm(few),
        plot_shapley_mistake(one, few),
        plot_interactions(few),
    ):
        drawn_texts(figure)
