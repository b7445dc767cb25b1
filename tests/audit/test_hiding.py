"""What is painted over, and where."""

import numpy as np

from glasshead.audit.hiding import elsewhere, hide, squares_at, striking_colour


def with_mark() -> tuple[np.ndarray, np.ndarray]:
    """Return two images of 12 × 16 in one colour each with a magenta mark, and where it is."""
    pixels = np.zeros((2, 3, 12, 16), np.uint8)
    pixels[0] = np.array([10, 100, 30])[:, None, None]
    pixels[1] = np.array([200, 20, 90])[:, None, None]
    places = np.zeros((2, 12, 16), bool)
    places[0, 2:5, 1:4], places[1, 8:11, 10:13] = True, True
    for image, place in zip(pixels, places, strict=True):
        image[:, place] = np.array([255, 0, 220])[:, None]
    return pixels, places


def test_what_is_hidden_looks_like_what_surrounds_it():
    pixels, places = with_mark()
    before = pixels.copy()
    hidden = hide(pixels, places)
    for row in range(2):
        assert len(np.unique(hidden[row].reshape(3, -1), axis=1).T) == 1
    np.testing.assert_array_equal(pixels, before)


def test_the_other_place_is_mirrored_and_as_large():
    _, places = with_mark()
    other = elsewhere(places)
    assert other[0, 2:5, 12:15].all()
    np.testing.assert_array_equal(other.sum(axis=(1, 2)), places.sum(axis=(1, 2)))
    assert not (other & places).any()


def test_squares_are_cut_at_the_edges():
    squares = squares_at(np.array([[4, 5], [0, 9]]), 3, (10, 10))
    assert squares[0].sum() == 9
    assert squares[0, 3:6, 4:7].all()
    assert squares[1].sum() == 4


def test_the_striking_colour_is_the_marks_even_in_a_larger_square():
    pixels, _ = with_mark()
    around = squares_at(np.array([[3, 2], [9, 11]]), 6, (12, 16))
    assert striking_colour(pixels, around) == "#ff00dc"


def test_an_image_that_is_hidden_whole_has_its_mean_colour():
    pixels, places = with_mark()
    hidden = hide(pixels, np.ones_like(places))
    expected = pixels.mean(axis=(2, 3)).round()
    np.testing.assert_array_equal(hidden[:, :, 0, 0], expected)
