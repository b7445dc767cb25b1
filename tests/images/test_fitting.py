"""Where the rows of a training stand in the image table. The choice of the rows is tested with the pipelines."""

import numpy as np
import pytest

from glasshead.errors import ArtifactError
from glasshead.images.fitting import table_rows
from glasshead.images.sources.base import plain_record
from glasshead.images.table import ImageTable


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
    with pytest.raises(ArtifactError, match="Run the training's pipeline as a whole"):
        table_rows(images, changed)
