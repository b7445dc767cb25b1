"""Where the rows of a training stand in the image table. The choice of the rows is tested with the pipelines."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from glasshead.errors import ArtifactError
from glasshead.images.fitting import labelled_pixels, table_rows
from glasshead.images.sources.base import plain_record
from glasshead.images.table import ImageTable
from glasshead.models.processor import resize_and_crop


@pytest.fixture
def images() -> ImageTable:
    names = ["train/2", "train/0", "test/1", "train/1"]
    records = (plain_record(name, name.encode(), "cat", None) for name in names)
    return ImageTable.from_records(records, ("cat", "dog"))


def test_rows_follow_the_samples_not_the_table(images):
    samples = images.frame().iloc[[3, 0, 1]].reset_index(drop=True)
    np.testing.assert_array_equal(table_rows(images, samples), [3, 0, 1])


@pytest.mark.parametrize("column", ["image_id", "label", "content_hash"])
def test_what_is_not_of_the_table_is_refused(images, column):
    samples = images.frame().iloc[:2]
    changed = samples.assign(**{column: ["dog", samples[column].iloc[1]]})
    with pytest.raises(ArtifactError, match="Run the classifier's whole pipeline"):
        table_rows(images, changed)


def test_pixels_and_labels_are_those_of_the_samples_in_their_order():
    def record(row: int):
        data = io.BytesIO()
        Image.new("RGB", (4, 4), (row, 0, 0)).save(data, "PNG")
        return plain_record(f"train/{row}", data.getvalue(), "cat", None)

    images = ImageTable.from_records(map(record, range(5)), ("cat", "dog"))
    samples = images.frame().assign(class_index=[5, 6, 7, 8, 9]).iloc[[3, 0, 4]]
    source, labels = labelled_pixels(images, samples, lambda found: resize_and_crop(found, 4))
    assert labels.tolist() == [8, 5, 9]
    assert source(torch.tensor([0, 1, 2]))[:, 0, 0, 0].tolist() == [3, 0, 4]
