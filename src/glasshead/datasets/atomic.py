"""Kedro datasets for single files: written atomically, reproducible to the byte, and loaded without unpickling."""

import base64
import csv
import io
import json
import zipfile
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from kedro_datasets._typing import ImagePreview, JSONPreview, TablePreview
from PIL import Image

from glasshead.datasets.paths import Loaded, PathDataset, Saved
from glasshead.errors import ArtifactError, GlassheadError
from glasshead.files import write_atomically
from glasshead.images.table import ImageTable

if TYPE_CHECKING:  # matplotlib takes a second to import
    from matplotlib.figure import Figure


class AtomicFile(PathDataset[Saved, Loaded], Generic[Saved, Loaded]):
    """A dataset that is one file; a subclass says how its content becomes bytes and back.

    Raises ArtifactError on content that cannot be written and on a missing or damaged file.
    """

    @abstractmethod
    def _encode(self, content: Saved) -> bytes: ...

    @abstractmethod
    def _decode(self, data: bytes) -> Loaded: ...

    def save(self, data: Saved) -> None:
        """Write `data` to a temporary file, then rename it."""
        try:
            encoded = self._encode(data)
        except (TypeError, ValueError, pa.ArrowException) as error:
            raise ArtifactError(f"Cannot write {self._filepath}: {error}") from error
        with write_atomically(self._filepath) as temporary:
            temporary.write_bytes(encoded)

    def load(self) -> Loaded:
        """Read the file and check it as far as its format allows."""
        try:
            return self._decode(self._filepath.read_bytes())
        except FileNotFoundError as error:
            raise ArtifactError(
                f"{self._filepath} does not exist. Run the pipeline that writes it first."
            ) from error
        except GlassheadError:
            raise
        except Exception as error:  # mutated bytes make the parsers raise almost anything
            raise ArtifactError(
                f"{self._filepath} is damaged ({error}). Delete it and run the pipeline that writes it again."
            ) from error


class AtomicJSON(AtomicFile[Any, Any]):
    """JSON with sorted keys. NumPy scalars become numbers; NaN and infinities are refused (use null instead)."""

    def _encode(self, content: Any) -> bytes:
        text = json.dumps(
            content,
            allow_nan=False,
            sort_keys=True,
            indent=2,
            ensure_ascii=False,
            default=_plain_scalar,
        )
        return f"{text}\n".encode()

    def _decode(self, data: bytes) -> Any:
        return json.loads(data, parse_constant=_refuse_constant)

    def preview(self) -> JSONPreview:
        """Return the file's content for Kedro-Viz."""
        return JSONPreview(json.dumps(self.load()))


class AtomicBytes(AtomicFile[bytes, bytes]):
    """Bytes as they are, such as an ONNX model; loading runs no code from them."""

    def _encode(self, content: bytes) -> bytes:
        return content

    def _decode(self, data: bytes) -> bytes:
        return data


class AtomicText(AtomicFile[str, str]):
    """UTF-8 text, such as a model card."""

    def _encode(self, content: str) -> bytes:
        return content.encode()

    def _decode(self, data: bytes) -> str:
        return data.decode()


class AtomicTable(AtomicFile[pd.DataFrame, pd.DataFrame]):
    """A DataFrame without its index, as `.csv` or `.parquet` by the suffix of `filepath`.

    CSV keeps no types: "1" is loaded as a number, except in the columns named in `text`. An empty string is loaded as a
    missing value; all other text, even "NA", stays text.
    """

    def __init__(
        self, *, filepath: str, text: Sequence[str] = (), metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self._text = dict.fromkeys(text, "str")
        if self._filepath.suffix not in (".csv", ".parquet"):
            raise ArtifactError(f"A table is a .csv or a .parquet file, not {self._filepath.name}.")
        self._is_csv = self._filepath.suffix == ".csv"

    def _encode(self, content: pd.DataFrame) -> bytes:
        if self._is_csv:
            if not len(content.columns):
                raise ValueError("a CSV file needs at least one column")
            # Text is quoted, as a lone carriage return in a file name would else end its row.
            text = content.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
            return text.encode()
        sink = io.BytesIO()
        table = pa.Table.from_pandas(content, preserve_index=False)
        pq.write_table(table, sink, write_page_checksum=True)
        return sink.getvalue()

    def _decode(self, data: bytes) -> pd.DataFrame:
        if self._is_csv:
            return pd.read_csv(
                io.BytesIO(data), keep_default_na=False, na_values=[""], dtype=self._text
            )
        source = pa.BufferReader(data)
        return pq.read_table(source, page_checksum_verification=True).to_pandas()

    def preview(self, nrows: int = 20) -> TablePreview:
        """Return the first rows for Kedro-Viz, missing values as null."""
        return TablePreview(json.loads(self.load().head(nrows).to_json(orient="split")))


class AtomicFigure(AtomicFile["Figure", bytes]):
    """A Matplotlib figure as PNG, closed once saved; loads as the PNG's bytes."""

    def __init__(
        self, *, filepath: str, dpi: int = 150, metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self._dpi = dpi

    def _encode(self, content: "Figure") -> bytes:
        from matplotlib import pyplot

        sink = io.BytesIO()
        if layout := content.get_layout_engine():  # once, where savefig would draw all of it twice
            content.set_dpi(self._dpi)
            layout.execute(content)
            content.set_layout_engine(None)
        content.savefig(sink, format="png", dpi=self._dpi, metadata={"Software": None})
        pyplot.close(content)
        return sink.getvalue()

    def _decode(self, data: bytes) -> bytes:
        Image.open(io.BytesIO(data), formats=["PNG"]).verify()
        return data

    def preview(self) -> ImagePreview:
        """Return the PNG for Kedro-Viz, base64."""
        return ImagePreview(base64.b64encode(self.load()).decode())


class AtomicArrays(AtomicFile[dict[str, np.ndarray], dict[str, np.ndarray]]):
    """Named NumPy arrays as an uncompressed `.npz`; object arrays are refused, as they would be pickles."""

    def _encode(self, content: dict[str, np.ndarray]) -> bytes:
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w") as archive:
            for name, array in sorted(content.items()):
                member = zipfile.ZipInfo(f"{name}.npy")  # always dated 1980, for equal bytes
                with archive.open(member, "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
        return sink.getvalue()

    def _decode(self, data: bytes) -> dict[str, np.ndarray]:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {
                name.removesuffix(".npy"): _read_member(archive, name)
                for name in archive.namelist()
            }


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


def _read_member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    # The member is read to its end: only then is its CRC checked.
    return np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)


def _plain_scalar(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
