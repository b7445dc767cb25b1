"""A table of a classifier's outputs for known images, in a CSV or parquet file."""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from glasshead.errors import ModelError

NAMES = ("image_id", "file_name")
PREFIXES = ("probability/", "logit/")
LISTED = 3  # names in a message


def read_outputs(path: Path, ids: pd.Series) -> tuple[Float[np.ndarray, "n m"], tuple[str, ...]]:
    """Return the outputs of all images in the order of `ids`, and the classes of their columns.

    The first column is `image_id`, or `file_name`, the path of an image in its folder. The columns of classes are
    those that begin with probability/ or logit/, as in predictions.parquet, or else all that hold numbers.

    Raises ModelError: the file cannot be read, has no such columns, or has no row, or two rows, for an image.
    """
    where = f"external.model.path: {path}"
    try:
        text = dict.fromkeys(NAMES, str)  # or 007 would be read as 7
        table = pd.read_csv(path, dtype=text) if path.suffix == ".csv" else pd.read_parquet(path)
    except (
        OSError,
        ValueError,
    ) as error:  # pandas' and pyarrow's errors of damaged files are ValueErrors
        raise ModelError(f"{where} cannot be read as CSV or parquet: {error}") from error
    named = [name for name in NAMES if name in table]
    if not named:
        raise ModelError(
            f"{where} needs a column image_id or file_name; it has {', '.join(map(str, table.columns[:8]))}."
        )
    columns = [name for name in table if str(name).startswith(PREFIXES)] or [
        name for name in table.select_dtypes("number") if name not in (*NAMES, "label", "split")
    ]
    rows = pd.Index(table[named[0]].astype(str))
    if repeated := rows[rows.duplicated()].unique().tolist():
        raise ModelError(
            f"{where} has several rows for {', '.join(repeated[:LISTED])}. Keep one of each."
        )
    found = rows.get_indexer(pd.Index(ids.astype(str)))
    if len(lacking := ids[found < 0]):
        raise ModelError(
            f"{where} has no row for {len(lacking)} of {len(ids)} images, such as "
            f"{', '.join(lacking[:LISTED])}. Give one for each image that is read."
        )
    values = table[columns].to_numpy(np.float64)[found]
    return values, tuple(_class_of(str(name)) for name in columns)


def _class_of(column: str) -> str:
    for prefix in PREFIXES:
        column = column.removeprefix(prefix)
    return column
