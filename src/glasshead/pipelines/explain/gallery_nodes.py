"""Nodes of `explain` that show explanations: neighbours, cards of mistakes, views of two groups of classes."""

import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure
from PIL import Image

from glasshead.embedding.store import Embeddings
from glasshead.explainers.neighbours import NOBODY, Neighbours, nearest_by_class, shared_concepts
from glasshead.explainers.randomisation import Measures
from glasshead.images.table import ImageTable
from glasshead.models.heads import GlassHeads
from glasshead.pipelines.explain.nodes import Arrays
from glasshead.pipelines.explain.params import VIEWS, ExplainParams
from glasshead.reporting.mistake_figures import mistakes_figure
from glasshead.reporting.view_figures import explanation_views_figure

logger = logging.getLogger(__name__)

THUMBNAIL = 160  # pixels of the longer side, at most


def find_neighbours(
    classifier: GlassHeads,
    embeddings: Embeddings,
    samples: pd.DataFrame,
    examples: pd.DataFrame,
    parameters: ExplainParams,
) -> pd.DataFrame:
    """Return the train images nearest to each example in embedding space, from the predicted class and from others.

    Neighbours from the predicted class show what the image looked like to the classifier. The other neighbours come
    from the true class if the example is a mistake, else from any other class.

    Each neighbour has a row: image_id; same_class, whether the neighbour is of the predicted class; rank from 1, the
    nearest; neighbour_id; label; cosine in [-1, 1]; shared_concepts, the subtasks with the same answer for both images,
    separated by ", ". There are fewer rows if the train split has too few images of a class.

    Raises ArtifactError if `embeddings` are not of `samples`, or not from the classifier's backbone.
    """
    content = samples.set_index("image_id")["content_hash"]
    train = samples[samples["split"] == "train"]
    pool = embeddings.of(train["content_hash"], classifier.encoder_key)
    queries = embeddings.of(content[examples["image_id"]], classifier.encoder_key)
    answers, pool_answers = (_likeliest_values(classifier, values) for values in (queries, pool))
    names = np.array([subtask.name for subtask in classifier.concepts], dtype=object)
    kinds = _nearest(
        queries, examples, pool, train["label"].to_numpy(object), parameters.neighbours
    )
    rows = [
        {
            "image_id": image_id,
            "same_class": same_class,
            "rank": rank + 1,
            "neighbour_id": train["image_id"].iloc[near],
            "label": train["label"].iloc[near],
            "cosine": float(neighbours_of_kind.similarity[row, rank]),
            "shared_concepts": ", ".join(names[shared[row, rank]]),
        }
        for same_class, neighbours_of_kind in kinds.items()
        for shared in [shared_concepts(answers, pool_answers, neighbours_of_kind)]
        for row, image_id in enumerate(examples["image_id"])
        for rank, near in enumerate(neighbours_of_kind.rows[row])
        if near != NOBODY
    ]
    columns = [
        "image_id",
        "same_class",
        "rank",
        "neighbour_id",
        "label",
        "cosine",
        "shared_concepts",
    ]
    return pd.DataFrame(rows, columns=columns)


def plot_mistakes(
    examples: pd.DataFrame,
    example_images: Arrays,
    attributions: Arrays,
    explanations: Measures,
    images: ImageTable,
    shapley: Arrays | None = None,
    neighbours: pd.DataFrame | None = None,
) -> Figure:
    """Return a figure with a card for each mistake among the shown images, with its concepts and neighbours, if any."""
    wrong = examples.loc[examples["shown"] & ~examples["correct"], "image_id"]
    if neighbours is not None:
        neighbours = neighbours[neighbours["image_id"].isin(wrong)]
    thumbnails = {} if neighbours is None else _thumbnails(images, neighbours["neighbour_id"])
    return mistakes_figure(
        examples, example_images, attributions, explanations, shapley, neighbours, thumbnails
    )


def plot_explanation_views(
    examples: pd.DataFrame,
    example_images: Arrays,
    attributions: Arrays,
    explanations: Measures,
    images: ImageTable,
    parameters: ExplainParams,
    shapley: Arrays | None = None,
) -> Figure:
    """Return a figure of the views whose classes the data has; the log names the views that are left out."""
    views = {}
    for name, sides in parameters.views.items():
        missing = sorted({label for side in sides for label in side} - set(images.classes))
        if missing:
            level = logging.INFO if name in VIEWS else logging.WARNING  # VIEWS are only defaults
            logger.log(
                level, "View %r is left out, as the data has no class %s.", name, ", ".join(missing)
            )
        else:
            views[name] = sides
    return explanation_views_figure(
        examples, example_images, attributions, explanations, views, shapley
    )


def _nearest(
    queries: Float[np.ndarray, "n d"],
    examples: pd.DataFrame,
    pool: Float[np.ndarray, "m d"],
    labels: np.ndarray,
    count: int,
) -> Mapping[bool, Neighbours]:
    """Return the neighbours of the predicted class as True, those of other classes (see `find_neighbours`) as False."""
    predicted, truth = (examples[name].to_numpy(object) for name in ("predicted", "label"))
    same, other = nearest_by_class(queries, predicted, pool, labels, count)
    of_truth, _ = nearest_by_class(queries, truth, pool, labels, count)
    wrong = (predicted != truth)[:, None]
    return {
        True: same,
        False: Neighbours(
            np.where(wrong, of_truth.rows, other.rows),
            np.where(wrong, of_truth.similarity, other.similarity),
        ),
    }


@torch.no_grad()
def _likeliest_values(
    classifier: GlassHeads, embeddings: Float[np.ndarray, "n d"]
) -> Int[np.ndarray, "n s"]:
    """Return the index of each subtask's most probable value."""
    concepts = classifier.concept_probabilities(torch.from_numpy(embeddings))
    by_subtask = concepts.split([len(task.values) for task in classifier.concepts], dim=1)
    return torch.stack([own.argmax(dim=1) for own in by_subtask], dim=1).numpy()


def _thumbnails(images: ImageTable, image_ids: pd.Series) -> dict[str, UInt8[np.ndarray, "h w 3"]]:
    unique = image_ids.unique()
    rows = pd.Index(images.ids()).get_indexer(unique)
    return {name: _thumbnail(images.pil(int(row))) for name, row in zip(unique, rows, strict=True)}


def _thumbnail(picture: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    return np.asarray(picture)
