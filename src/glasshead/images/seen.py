"""Which images a classifier from outside was trained on, as its user says."""

import logging
from pathlib import Path

import pandas as pd

from glasshead.errors import SourceError
from glasshead.images.table import content_hash

logger = logging.getLogger(__name__)

NONE = "none"


def rows_seen(frame: pd.DataFrame, trained_on: str) -> pd.Series:
    """Return whether each row of `frame` was trained on, by `trained_on`.

    That is none, a folder of images, which are compared byte for byte, or a text file with an image_id or a file name
    in each line.

    Raises SourceError: there is no such folder or file, or none of its images is among those of `frame`.
    """
    if trained_on == NONE:
        return pd.Series(False, index=frame.index)
    path = Path(trained_on).expanduser()
    try:
        if path.is_dir():
            files = [file for file in sorted(path.rglob("*")) if file.is_file()]
            hashes = {content_hash(file.read_bytes()) for file in files}
            seen, listed = frame["content_hash"].isin(hashes), len(files)
        else:
            names = {line.strip() for line in path.read_text().splitlines() if line.strip()}
            alone = frame["image_id"].str.rpartition("/")[2]
            seen, listed = frame["image_id"].isin(names) | alone.isin(names), len(names)
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"preprocess.trained_on: {path} cannot be read: {error}. Set it to none, to a folder of images, or to a "
            "text file with the name of an image in each line."
        ) from error
    if not seen.any():
        raise SourceError(
            f"preprocess.trained_on: none of the {listed} images in {path} is among the {len(frame)} that were read, "
            f"such as {frame['image_id'].iloc[0]}. Set it to none if the classifier has seen none of them."
        )
    seen = frame["content_hash"].isin(frame.loc[seen, "content_hash"])  # copies too
    logger.info("The classifier was trained on %d of %d images", seen.sum(), len(frame))
    return seen
