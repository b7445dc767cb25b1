"""Nearest train images against scikit-learn and planted ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from glasshead.errors import EmbeddingError
from glasshead.explainers.neighbours import NOBODY, nearest_by_class, shared_concepts


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 6))
def test_rows_are_those_that_scikit_learn_finds_in_each_class(seed, block, count):
    draw = np.random.default_rng(seed)
    queries, pool = draw.normal(size=(5, 8)), draw.normal(size=(30, 8))
    classes, pool_classes = draw.integers(3, size=5), draw.permuted(np.arange(30) % 3)
    same, other = nearest_by_class(queries, classes, pool, pool_classes, count, block)
    for row, name in enumerate(classes):
        for found, kept in ((same, pool_classes == name), (other, pool_classes != name)):
            peer = NearestNeighbors(metric="cosine", algorithm="brute").fit(pool[kept])
            distance, index = peer.kneighbors(queries[row : row + 1], count)
            np.testing.assert_array_equal(found.rows[row], np.flatnonzero(kept)[index[0]])
            np.testing.assert_allclose(found.similarity[row], 1 - distance[0], atol=1e-12)


def test_length_does_not_matter_and_an_image_is_nearest_to_itself():
    pool = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    classes = np.array(["cat", "dog"] * 10)
    scale = np.linspace(0.1, 9, 20, dtype=np.float32)[:, None]
    same, other = nearest_by_class(scale * pool, classes, pool, classes, 2)
    np.testing.assert_array_equal(same.rows[:, 0], np.arange(20))
    np.testing.assert_allclose(same.similarity[:, 0], 1, atol=1e-6)
    assert (classes[other.rows] != classes[:, None]).all()


def test_of_two_equally_near_the_first_comes_first():
    pool = np.tile(np.array([[1.0, 0.0], [0.6, 0.8]]), (3, 1))
    same, _ = nearest_by_class(np.array([[1.0, 0.0]]), np.zeros(1), pool, np.zeros(6), 4, block=2)
    np.testing.assert_array_equal(same.rows, [[0, 2, 4, 1]])


def test_a_class_with_too_few_images_leaves_places_empty():
    pool = np.eye(4)
    classes = np.array([0, 1, 1, 1])
    same, other = nearest_by_class(pool[:1], np.array([0]), pool, classes, 3)
    np.testing.assert_array_equal(same.rows, [[0, NOBODY, NOBODY]])
    np.testing.assert_allclose(same.similarity, [[1, np.nan, np.nan]])
    np.testing.assert_array_equal(other.rows, [[1, 2, 3]])


def test_shared_concepts_are_equal_answers():
    pool = np.eye(3)
    same, _ = nearest_by_class(
        pool[:1] + 0.1 * pool[1:2], np.zeros(1), pool, np.array([0, 0, 1]), 3
    )
    pool_answers = np.array([[0, 1], [0, 2], [1, 1]])
    shared = shared_concepts(np.array([[0, 1]]), pool_answers, same)
    np.testing.assert_array_equal(shared, [[[True, True], [True, False], [False, False]]])


@pytest.mark.parametrize("mistake", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("whose", ["images to explain", "train split"])
def test_embeddings_without_direction_are_refused_by_row(mistake, whose):
    queries, pool = np.ones((6, 3)), np.ones((6, 3))
    (queries if whose == "images to explain" else pool)[5] = mistake
    with pytest.raises(EmbeddingError, match=rf"1 embeddings of the {whose}.* row 5"):
        nearest_by_class(queries, np.zeros(6), pool, np.zeros(6), 2, block=4)
