"""Explanation by examples: the train images most similar to each image, from its class and from other classes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from glasshead.errors import EmbeddingError

NOBODY = -1


@dataclass(frozen=True)
class Neighbours:
    """The nearest rows of a pool, nearest first.

    rows: (n, k) indices into the pool, -1 where there are fewer than k. similarity: (n, k) cosine in [-1, 1], NaN where
    the index is -1.
    """

    rows: Int[np.ndarray, "n k"]
    similarity: Float[np.ndarray, "n k"]


def nearest_by_class(
    embeddings: Float[np.ndarray, "n d"],
    classes: Shaped[np.ndarray, " n"],
    pool: Float[np.ndarray, "m d"],
    pool_classes: Shaped[np.ndarray, " m"],
    count: int,
    block: int = 4096,
) -> tuple[Neighbours, Neighbours]:
    """Return the `count` rows of `pool` nearest to each embedding, from its own class and from all other classes.

    The search is exact, by cosine similarity, computed in the embeddings' dtype; `block` rows of the pool are compared
    at once.

    Raises:
        EmbeddingError: an embedding is all zeros, or not finite.
    """
    queries = _normalised(embeddings, "the images to explain")
    shape = len(queries), count
    same = other = Neighbours(np.full(shape, NOBODY), np.full(shape, np.nan))
    for start in range(0, len(pool), block):
        candidates = _normalised(pool[start : start + block], "the train split", start)
        similarity = queries @ candidates.T
        of_class = classes[:, None] == pool_classes[None, start : start + len(candidates)]
        rows = np.arange(start, start + len(candidates))
        same = _merge(same, rows, np.where(of_class, similarity, np.nan))
        other = _merge(other, rows, np.where(of_class, np.nan, similarity))
    return same, other


def shared_concepts(
    answers: Int[np.ndarray, "n s"], pool_answers: Int[np.ndarray, "m s"], neighbours: Neighbours
) -> Bool[np.ndarray, "n k s"]:
    """Return (n, k, subtasks) whether image and neighbour have the same answer; False where there is no neighbour."""
    has_neighbour = neighbours.rows != NOBODY
    same: Bool[np.ndarray, "n k s"] = answers[:, None] == pool_answers[neighbours.rows]
    return same & has_neighbour[:, :, None]


def _normalised(
    embeddings: Float[np.ndarray, "n d"], whose: str, start: int = 0
) -> Float[np.ndarray, "n d"]:
    norm = np.linalg.norm(embeddings, axis=1, keepdims=True)
    useless = ~(np.isfinite(norm) & (norm > 0)).ravel()
    if useless.any():
        raise EmbeddingError(
            f"{int(useless.sum())} embeddings of {whose} are zero or not finite, the first in row "
            f"{start + int(useless.argmax())}. Run `kedro run --pipelines=embed` again."
        )
    unit: Float[np.ndarray, "n d"] = embeddings / norm
    return unit


def _merge(
    known: Neighbours, rows: Int[np.ndarray, " b"], similarity: Float[np.ndarray, "n b"]
) -> Neighbours:
    """Return the nearest of the `known` neighbours and the candidates `rows`; NaN similarities are ignored."""
    count = known.rows.shape[1]
    similarities = np.concatenate([known.similarity, similarity], axis=1)
    candidates = np.concatenate(
        [known.rows, np.broadcast_to(rows, (len(known.rows), len(rows)))], axis=1
    )
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :count]  # NaN come last
    nearest = np.take_along_axis(similarities, order, axis=1)
    chosen = np.take_along_axis(candidates, order, axis=1)
    return Neighbours(np.where(np.isnan(nearest), NOBODY, chosen), nearest)
