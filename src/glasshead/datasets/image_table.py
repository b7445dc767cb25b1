"""The Kedro dataset of an image table: streamed to disk, mapped from it."""

import json

from kedro_datasets._typing import TablePreview

from glasshead.datasets.paths import PathDataset
from glasshead.files import write_atomically
from glasshead.images.table import ImageTable


class ImageTableDataset(PathDataset[ImageTable, ImageTable]):
    """An `ImageTable` as one Arrow file; loading maps it, so that its images stay on disk.

    Raises ArtifactError if the file is missing, damaged or of another format, or cannot be written.
    """

    def save(self, data: ImageTable) -> None:
        """Stream `data` to a temporary file, then move it into place."""
        with write_atomically(self._filepath) as temporary:
            data.write(temporary)

    def load(self) -> ImageTable:
        """Map the file."""
        return ImageTable.open(self._filepath)

    def preview(self, nrows: int = 20) -> TablePreview:
        """Return the first rows for Kedro-Viz, without the images."""
        return TablePreview(json.loads(self.load().frame().head(nrows).to_json(orient="split")))
