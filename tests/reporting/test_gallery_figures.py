"""What gallery, cards of mistakes and views show, read back from their artists."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from glasshead.reporting.gallery_figure import NO_MAPS, plot_answer_maps, plot_explanation_gallery
from glasshead.reporting.map_plotting import overlay, relative
from glasshead.reporting.mistake_figures import NO_MISTAKES, mistakes_figure
from glasshead.reporting.panels import AGAINST, FOR
from glasshead.reporting.view_figures import explanation_views_figure

VIEWS = {"pets": (("cat",), ("dog",)), "sea": (("$ship_",), ("cat", "dog"))}


def drawn_texts(figure) -> list[str]:
    """Draw `figure`, as a broken label fails only then, and return all its texts, which must lie on the page."""
    figure.savefig(io.BytesIO(), dpi=figure.dpi)
    page = figure.bbox.padded(5)
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    for text in texts:
        box = text.get_window_extent()
        assert page.contains(box.x0, box.y0), text.get_text()
        assert page.contains(box.x1, box.y1), text.get_text()
    return [text.get_text() for text in texts]


def drawn_images(figure) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for image in figure.findobj(AxesImage)]


@pytest.fixture
def near() -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    table = pd.DataFrame(
        {
            "image_id": ["test/0", "test/0", "test/2"],
            "same_class": [True, False, True],
            "rank": [1, 1, 1],
            "neighbour_id": ["train/7", "train/8", "train/9"],
            "label": ["dog", "cat", "cat"],
            "cosine": [0.91, 0.72, 0.99],
            "shared_concepts": ["legs, wheels", "", "legs"],
        }
    )
    return table, {f"train/{row}": np.full((6, 9, 3), row, np.uint8) for row in (7, 8)}


class TestMaps:
    def test_full_colour_is_blue_for_and_vermillion_against(self):
        values = np.zeros((4, 4), dtype=np.float32)
        values[0], values[1] = 2, -2
        pixels = np.full((3, 4, 4), 51, np.uint8)
        mixed = overlay(pixels, values)
        np.testing.assert_allclose(mixed[0, 0], to_rgb(FOR), atol=1e-6)
        np.testing.assert_allclose(mixed[1, 0], to_rgb(AGAINST), atol=1e-6)
        np.testing.assert_allclose(mixed[2, 0], [0.2] * 3, atol=1e-6)

    def test_the_scale_is_the_maps_own_percentile_or_of_few_values_the_largest(self):
        ramp = np.linspace(-100, 100, 201).reshape(3, 67)
        np.testing.assert_allclose(relative(ramp).max(), 100 / 99, rtol=0.02)
        single = np.zeros((20, 20))
        single[3, 3] = -0.1
        assert relative(single).min() == -1
        assert not relative(np.zeros((4, 4))).any()


class TestGallery:
    def test_every_shown_image_stands_beside_each_method_that_explained_one(self, explained):
        figure = plot_explanation_gallery(**explained)
        texts, images = drawn_texts(figure), drawn_images(figure)
        assert "✗ cat\nas dog\nconfidence 0.61" in texts
        assert "✓ cat\nconfidence 0.93" in texts
        assert not any("0.84" in text for text in texts)  # not shown
        assert not {
            "lime",
            "lime\n? not checked",
            "random",
            "random\n(unsigned)\n? not checked",
        } & set(texts)
        pictures = [image for image in images if image.shape == (8, 8, 3)]
        assert len(pictures) == 3 * (1 + 2)
        pixels = explained["example_images"]["pixels"]
        np.testing.assert_array_equal(pictures[0], pixels[0].transpose(1, 2, 0))
        expected = overlay(pixels[0], explained["attributions"]["saliency"][0])
        np.testing.assert_allclose(pictures[1], expected, atol=1e-6)

    def test_a_method_that_fails_is_marked_in_its_title_and_on_its_maps(self, explained):
        texts = drawn_texts(plot_explanation_gallery(**explained))
        assert "saliency\n(unsigned)" in texts
        assert "occlusion\n✗ fails the\nrandomisation\ncheck" in texts
        assert texts.count("✗") == 3
        assert {"speaks for", "speaks against"} <= set(texts)

    def test_what_cannot_be_drawn_says_why(self, explained):
        explained["examples"]["shown"] = True
        explained["attributions"]["saliency"][0, 0, 0] = np.nan
        explained["attributions"]["saliency"][1] = 0
        texts = drawn_texts(plot_explanation_gallery(**explained))
        assert texts.count("not run") == 3
        assert "not finite" in texts
        assert "constant" in texts
        assert "lime\n? not checked" in texts

    def test_without_any_map_it_says_so(self, explained):
        explained["attributions"] = {"methods": np.array([], dtype=str)}
        assert "No pixel method" in drawn_texts(plot_explanation_gallery(**explained))[0]


class TestAnswerMaps:
    @pytest.fixture
    def answers(self) -> dict[str, np.ndarray]:
        draw = np.random.default_rng(1)
        return {
            "method": np.array("occlusion"),
            "subtasks": np.array(["legs", "wheels"]),
            "all": np.array(7),
            "maps": draw.normal(size=(3, 2, 8, 8)).astype(np.float32),
            "answers": np.array([["four", "no"], ["two", "no"], ["four", "yes"]]),
            "probabilities": np.array([[0.81, 0.9], [0.62, 0.7], [0.93, 0.51]]),
            "right": np.array([[True, True], [False, True], [True, True]]),
        }

    def test_every_shown_image_stands_beside_a_map_of_each_answer(self, explained, answers):
        del explained["attributions"]
        figure = plot_answer_maps(answer_maps=answers, **explained)
        texts, images = drawn_texts(figure), drawn_images(figure)
        assert {"legs", "wheels", "four 0.81", "yes 0.51", "✗ two 0.62"} <= set(texts)
        assert texts.count("✗") == 3 * 2  # occlusion fails the randomisation check
        assert "… the answer" in texts
        assert "the 2 concepts that count most of 7" in texts[0]
        pictures = [image for image in images if image.shape == (8, 8, 3)]
        assert len(pictures) == 3 * (1 + 2)
        pixels = explained["example_images"]["pixels"]
        expected = overlay(pixels[1], answers["maps"][1, 0])
        np.testing.assert_allclose(pictures[4], expected, atol=1e-6)

    def test_without_maps_it_says_why(self, explained, answers):
        del explained["attributions"]
        answers["subtasks"] = np.array([], dtype=str)
        (text,) = drawn_texts(plot_answer_maps(answer_maps=answers, **explained))
        assert " ".join(text.split()) == NO_MAPS


class TestMistakes:
    def test_a_card_says_all_that_is_known(self, explained, concepts, near):
        figure = mistakes_figure(
            **explained, shapley=concepts, neighbours=near[0], thumbnails=near[1]
        )
        texts = drawn_texts(figure)
        assert "✗ cat taken for dog" in texts
        assert "calibrated confidence 0.61, test/0" in texts
        assert {"legs: four 0.80", "wheels: no 0.90"} <= set(texts)
        assert "nearest train images:\ndog, predicted" in texts
        assert "nearest train images:\ncat, its true class" in texts
        assert "cosine 0.91\n2 of 2\nconcepts" in texts
        assert "cosine 0.72\n0 of 2\nconcepts" in texts
        thumbnails = [image for image in drawn_images(figure) if image.shape == (6, 9, 3)]
        assert [int(image[0, 0, 0]) for image in thumbnails] == [7, 8]

    def test_the_map_is_of_the_best_method_that_passes(self, explained):
        figure = mistakes_figure(**explained)
        texts = drawn_texts(figure)
        assert texts.count("saliency\n(unsigned)") + texts.count("saliency (unsigned)") == 2
        assert not any(text.startswith("occlusion") for text in texts)
        assert any("Insertion AUC: saliency 0.40." in text for text in texts)
        expected = overlay(
            explained["example_images"]["pixels"][0], explained["attributions"]["saliency"][0]
        )
        assert any(
            image.shape == (8, 8, 3) and np.allclose(image, expected)
            for image in drawn_images(figure)
        )

    def test_where_none_passes_the_best_is_marked(self, explained):
        explained["explanations"]["saliency"]["randomisation"] |= {"low": 0.98, "high": 0.99}
        texts = drawn_texts(mistakes_figure(**explained))
        assert texts.count("occlusion\n✗ fails the\nrandomisation check") == 2
        assert texts.count("✗") == 4

    def test_a_classifier_without_concepts_has_cards_beside_each_other(self, explained):
        figure = mistakes_figure(**explained)
        assert not any(
            "nearest" in text.lower() or "concepts" in text for text in drawn_texts(figure)
        )
        first, second = (text for text in figure.findobj(Text) if "taken for" in text.get_text())
        assert first.get_position()[1] == second.get_position()[1]

    def test_without_mistakes_it_says_so(self, explained):
        explained["examples"]["correct"] = True
        assert drawn_texts(mistakes_figure(**explained)) == [NO_MISTAKES]


class TestViews:
    def test_both_sides_show_their_images_and_frame_confusions(self, explained, concepts):
        figure = explanation_views_figure(**explained, views=VIEWS, shapley=concepts)
        texts = drawn_texts(figure)
        assert "2 of 2 explained images; 1 of them all taken for the other side" in texts  # cats
        assert texts.count("✗ cat as dog, 0.61") == 2
        assert "✓ cat, 0.93" in texts
        frames = [
            box
            for box in figure.findobj(Rectangle)
            if box.get_edgecolor()[:3] == to_rgb(AGAINST) and box.get_facecolor()[3] == 0
        ]
        assert len(frames) == 2  # a cat for a dog, a dog for a ship

    def test_bars_are_means_over_images_drawn_at_random(self, explained, concepts):
        figure = explanation_views_figure(
            **explained, views={"pets": VIEWS["pets"]}, shapley=concepts
        )
        (bars,) = [axes for axes in figure.axes if axes.get_xlabel().startswith("mean |Shapley")]
        assert [label.get_text() for label in bars.get_yticklabels()] == ["wheels", "legs"]
        cats, dogs = (container.patches for container in bars.containers)
        np.testing.assert_allclose([bar.get_width() for bar in cats], [0.1, 0.35])
        assert [bar.get_width() for bar in dogs] == [0, 0]  # the dog was not drawn at random
        assert {"cat (n = 2)", "dog (n = 0)"} <= set(drawn_texts(figure))

    def test_confusions_come_first_and_classes_take_turns(self, explained):
        examples = explained["examples"]
        many = pd.concat([examples] * 5, ignore_index=True)
        many["image_id"] = [f"test/{row}" for row in range(len(many))]
        explained["examples"] = many
        rows = np.arange(len(many))
        saliency = np.concatenate([explained["attributions"]["saliency"]] * 5)
        explained["attributions"] = {
            "methods": np.array(["saliency"]), "saliency": saliency, "saliency/rows": rows
        }  # fmt: skip
        explained["example_images"] = {
            "pixels": np.concatenate([explained["example_images"]["pixels"]] * 5)
        }
        figure = explanation_views_figure(**explained, views={"all": (("cat", "dog"), ("$ship_",))})
        texts = drawn_texts(figure)
        assert "9 of 15 explained images; 5 of them all taken for the other side" in texts
        assert texts.count(r"✗ dog as \$ship_, 0.52") == 5
        assert sum(text.startswith("✗ cat as") or text == "✓ cat, 0.93" for text in texts) == 4

    def test_without_any_view_it_says_so(self, explained):
        assert "explain.views" in drawn_texts(explanation_views_figure(**explained, views={}))[0]
