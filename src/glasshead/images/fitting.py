"""The rows that a training may use, and their positions in the image table."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from glasshead.errors import ArtifactError, SplitError
from glasshead.images.pixels import PixelSource, Prepare
from glasshead.images.table import ImageTable


def select_fitting_samples(images: ImageTable, samples: pd.DataFrame) -> pd.DataFrame:
    """Return the train and validation rows, the only ones that classifiers and baselines are fitted on.

    Raises:
        ArtifactError: `samples` do not belong to `images`.
        SplitError: there are no train or no validation rows, or a class has no train row.
    """
    images.check_rows(samples)
    chosen = rows_to_fit(samples)
    counts = chosen["split"].value_counts()
    if len(counts) < 2:
        raise SplitError(
            f"Training needs train and validation rows; there are {counts.to_dict()}. Add images, or raise "
            "`preprocess.validation_fraction`."
        )
    absent = sorted(set(samples["label"]) - set(chosen.loc[chosen["split"] == "train", "label"]))
    if absent:
        raise SplitError(
            f"No train row has the class {', '.join(absent)}. Add images of it, or leave the class out."
        )
    return chosen


def rows_to_fit(samples: pd.DataFrame) -> pd.DataFrame:
    """Return the train and validation rows; there may be none, where only a classifier from outside is audited."""
    return samples[samples["split"].isin(["train", "validation"])].reset_index(drop=True)


def fitting_digest(fitting_samples: pd.DataFrame) -> str:
    """Return a SHA-256 of the ids and splits of the images that a classifier is fitted and validated on."""
    rows = fitting_samples[["image_id", "split"]].to_numpy(object).tolist()
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def check_fitted_on(
    provenance: Mapping[str, Any],
    images: ImageTable,
    fitting_samples: pd.DataFrame,
    classifier: str = "classifier",
) -> None:
    """Raise ArtifactError unless the provenance says that a classifier was fitted on these rows of these images."""
    data, rows = images.digest(), fitting_digest(fitting_samples)
    if (provenance.get("data"), provenance.get("fitting_rows")) != (data, rows):
        other = "images" if provenance.get("data") != data else "splits"
        raise ArtifactError(
            f"The {classifier} was trained on other {other} than the current ones. Run its training pipeline again."
        )


def table_rows(images: ImageTable, samples: pd.DataFrame) -> Int[np.ndarray, " n"]:
    """Return the row in `images` of each sample; `samples` are some of the images, in any order.

    Raises ArtifactError if a sample is not among the images, or its label or content differs from the image's.
    """
    identity = ["image_id", "label", "content_hash"]
    frame = images.frame()[identity]
    rows = pd.Index(frame["image_id"]).get_indexer(pd.Index(samples["image_id"]))
    known = frame.iloc[rows].to_numpy(object)
    if (rows < 0).any() or (known != samples[identity].to_numpy(object)).any():
        raise ArtifactError(
            "The rows to train on do not match the image table. Run the classifier's whole pipeline, such as "
            "`kedro run --pipelines=cnn`."
        )
    return rows


def predict_majority(images: ImageTable, fitting_samples: pd.DataFrame) -> pd.DataFrame:
    """Return a baseline that always predicts the most frequent train class, for the rows that nothing was fitted on.

    The columns are `image_id` and `majority`. Raises ArtifactError if `fitting_samples` do not belong to `images`.
    """
    rest = np.setdiff1d(np.arange(len(images)), table_rows(images, fitting_samples))
    train = fitting_samples.loc[fitting_samples["split"] == "train", "class_index"]
    majority = images.classes[int(train.mode().iloc[0])]
    return pd.DataFrame({"image_id": images.ids().to_numpy()[rest], "majority": majority})


def labelled_pixels(
    images: ImageTable, samples: pd.DataFrame, prepare: Prepare
) -> tuple[PixelSource, Int[Tensor, " n"]]:
    """Return the images of `samples`, prepared by `prepare`, and their class indices, in the order of `samples`.

    Raises ArtifactError like `table_rows`.
    """
    labels = samples["class_index"].to_numpy(np.int64, copy=True)
    return PixelSource(images, table_rows(images, samples), prepare), torch.from_numpy(labels)
