"""The Kedro dataset of an image table: streamed to disk, mapped from it."""

import json
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import TablePreview

from glasshead.files import write_atomically
from glasshead.images.table import ImageTable


class ImageTableDataset(AbstractDataset[ImageTable, ImageTable]):
    """An `ImageTable` as one Arrow file; loading maps it, so that its images stay on disk.

    Raises ArtifactError on a missing, damaged or foreign file, and where it cannot be written.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """`filepath`: the Arrow file; `metadata`: for plugins such as Kedro-Viz."""
        self._filepath = Path(filepath)
        self.metadata = metadata

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

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
