"""Images to predict: files, folders, globs, encoded bytes and Pillow images."""

import glob
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from glasshead.errors import ImageError
from glasshead.images.decode import decode_rgb, to_rgb
from glasshead.images.sources.class_folders import MAX_BYTES, is_hidden, shown

Given = str | os.PathLike[str] | bytes | Image.Image

MAX_RATIO = 200  # of the longer to the shorter side; of such a strip, the square crop would show hardly anything


def find_files(argument: str) -> Iterator[str]:
    """Yield the file `argument`, the files in the folder `argument`, or those that the glob matches, in name order.

    Hidden files in folders and globs are left out. If nothing is found, `argument` itself is yielded, so that reading
    it raises the error.
    """
    matches = [argument]
    if not os.path.lexists(argument) and glob.has_magic(argument):
        paths = glob.glob(argument, recursive=True)  # noqa: PTH207  # Path.glob refuses absolute patterns
        matches = sorted(path for path in paths if not is_hidden(Path(path).name))
    yield from [file for match in matches for file in _below(match)] or [argument]


def _below(path: str) -> Iterator[str]:
    """Yield `path`; for a folder, yield the files below it, and folders below it that are links or unreadable."""
    if not os.path.isdir(path):  # noqa: PTH112  # Path.is_dir raises an error if the name is too long
        yield path
        return
    unreadable: list[OSError] = []
    for folder, folders, names in os.walk(path, onerror=unreadable.append):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        names += [name for name in folders if Path(folder, name).is_symlink()]
        yield from (str(Path(folder, name)) for name in sorted(names) if not is_hidden(name))
    yield from (str(error.filename) for error in unreadable)


def read_image(source: Given) -> Image.Image:
    """Return an image as RGB; raises ImageError, and nothing else, with the reason."""
    if isinstance(source, Image.Image):
        image = _converted(source)
    else:
        image = decode_rgb(source if isinstance(source, bytes) else _read(Path(source)))
    if max(image.size) >= MAX_RATIO * min(image.size):
        size = f"{image.width} x {image.height}"
        raise ImageError(f"too long: {size} pixels, one side {MAX_RATIO} or more times the other")
    return image


def _read(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("a folder" if path.is_dir() else "not a regular file")
        if status.st_size > MAX_BYTES:
            raise ImageError(f"too large: {status.st_size} bytes, the limit is {MAX_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from error
    except ValueError as error:  # a null byte in its name
        raise ImageError(f"cannot be read: {error}") from error


def _converted(image: Image.Image) -> Image.Image:
    try:
        return to_rgb(image)
    except (OSError, ValueError, SyntaxError) as error:  # Pillow reads the file only now
        raise ImageError(f"cannot be decoded: {error}") from error


def name_of(source: Given, index: int) -> str:
    """Return the path of an image, with bytes that are not UTF-8 as escapes; "#3" for the fourth if it has no path."""
    return f"#{index}" if isinstance(source, bytes | Image.Image) else shown(os.fspath(source))
