"""Nodes of `preprocess`."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from glasshead.errors import ArtifactError
from glasshead.images.params import PreprocessParams
from glasshead.images.scenes import CLASSES
from glasshead.images.seen import rows_seen
from glasshead.images.splits import assign_splits, check_splits
from glasshead.images.table import ImageTable
from glasshead.images.taxonomy import AUTO, Taxonomy, add_targets, parse_taxonomy
from glasshead.models.backbone import BackboneParams, choose_backbone
from glasshead.models.clip import processor_settings
from glasshead.reporting.data_figures import mean_images, mean_images_figure

logger = logging.getLogger(__name__)


def choose_taxonomy(
    parameters: PreprocessParams,
    taxonomies: dict[str, Callable[[], dict[str, Any]]],
    images: ImageTable,
) -> dict[str, Any]:
    """Return the chosen taxonomy, checked against the classes; TaxonomyError if it does not fit."""
    if parameters.taxonomy != AUTO:
        chosen = parse_taxonomy(parameters.taxonomy, taxonomies, images.classes)
    elif set(images.classes) == set(CLASSES):
        chosen = parse_taxonomy("concepts", taxonomies, images.classes)
    else:
        logger.info("preprocess.taxonomy=auto is classes, as concepts is on %s", ", ".join(CLASSES))
        chosen = parse_taxonomy("classes", taxonomies, images.classes)
    return chosen.model_dump(mode="json")


def build_samples(
    images: ImageTable, taxonomy: dict[str, Any], parameters: PreprocessParams
) -> pd.DataFrame:
    """Return a row for each image, in the order of the image table, with class_index, split and subtask targets."""
    samples = split_images(images, parameters)
    return add_targets(samples, images, Taxonomy.model_validate(taxonomy))


def split_images(images: ImageTable, parameters: PreprocessParams) -> pd.DataFrame:
    """Return a row for each image, in the order of the image table, with class_index and split.

    Raises SplitError if a class has no row in a split that is needed.
    """
    frame = images.frame()
    seen = None if parameters.trained_on is None else rows_seen(frame, parameters.trained_on)
    splits = assign_splits(
        frame,
        parameters.validation_fraction,
        parameters.calibration_fraction,
        parameters.test_fraction,
        parameters.group_by,
        seen,
    )
    needed = ("train", "calibration") if seen is None else ("calibration",)
    check_splits(frame["label"], splits, images.classes, needed)
    index = frame["label"].map({name: k for k, name in enumerate(images.classes)})
    return frame.assign(class_index=index.astype("int64"), split=splits)


def check_samples(images: ImageTable, samples: pd.DataFrame, taxonomy: dict[str, Any]) -> None:
    """Raise ArtifactError unless labels and targets are valid indices and images are RGB."""
    subtasks = Taxonomy.model_validate(taxonomy).subtasks
    sizes = {f"target/{task.name}": len(task.values) for task in subtasks}
    for column, size in (sizes | {"class_index": len(images.classes)}).items():
        values = samples[column]
        if not pd.api.types.is_integer_dtype(values) or not values.between(0, size - 1).all():
            raise ArtifactError(
                f"Table `samples` has values in column {column} that are not integers from 0 to {size - 1}. Run the "
                "preprocess pipeline again with this taxonomy."
            )
    if unknown := [name for name in samples.filter(regex="^target/") if name not in sizes]:
        raise ArtifactError(
            f"Table `samples` has a column {unknown[0]}, but the taxonomy has no such subtask. Run the preprocess "
            "pipeline again with this taxonomy."
        )
    images.check_rows(samples)
    for row in samples.groupby("class_index").head(1).index:
        pixels = np.asarray(images.pil(row))
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ArtifactError(
                f"Image {row} of the image table is {pixels.dtype} {pixels.shape}, not uint8 (h, w, 3). Run the "
                "ingest pipeline again."
            )


def report_duplicates(samples: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose image is also, byte for byte, in another split; rows with the same image are adjacent."""
    splits = samples.groupby("content_hash")["split"].transform("nunique")
    columns = ["content_hash", "image_id", "split", "label"]
    duplicates = samples.loc[splits > 1, columns].sort_values(["content_hash", "image_id"])
    if len(duplicates):
        copies = duplicates["content_hash"].nunique()
        logger.warning("%d images are in more than one split; duplicates.csv lists them", copies)
    return duplicates.reset_index(drop=True)


def plot_mean_images(
    images: ImageTable, samples: pd.DataFrame, parameters: PreprocessParams
) -> Figure:
    """Return a figure with the mean image of each class: of train rows, or of calibration rows where there are none."""
    split = "train" if (samples["split"] == "train").any() else "calibration"
    chosen = samples[samples["split"] == split]
    rows = chosen.groupby("label").head(parameters.mean_image_rows)
    return mean_images_figure(mean_images(images, rows["label"]), images.classes)


def resolve_processor(backbone: BackboneParams, images: ImageTable) -> dict[str, Any]:
    """Return the settings of the backbone's image processor; BackboneError if there is none."""
    return processor_settings(choose_backbone(backbone, images))
