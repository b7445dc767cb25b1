"""The layout of image folders (a folder for each class, under split folders or under the root), and file names."""

import os
from collections.abc import Callable
from pathlib import Path

from glasshead.errors import SourceError

# the names of files and folders of a split, in lower case
SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
SPLIT_OF = {name: split for split, names in SPLIT_NAMES.items() for name in names}
MAX_BYTES = 2**28  # of an image file; images within the pixel limit of decoding are smaller
# names that Windows, and zip files made by macOS, put into folders
SYSTEM = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"}


def find_layout(
    root: str | Path, folders: Callable[[str], list[str]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the split folders, or ("",) if there are none, and the class names in alphabetical order.

    `folders` returns the names of the folders in a folder, whose path is relative to the root. Raises SourceError for
    other layouts.
    """
    tops = _tops(root, folders)
    classes = sorted({folder for top in tops for folder in folders(top)})
    if not classes:
        raise SourceError(
            f"ingest.image_folder.path: {root} has no folder per class. Put each class's images into one."
        )
    if unreadable := [name for name in classes if not is_text(name)]:
        raise SourceError(
            f"The name of the class folder {shown(unreadable[0])} in {root} is not UTF-8. Rename the folder."
        )
    return tops, tuple(classes)


def _tops(root: str | Path, folders: Callable[[str], list[str]]) -> tuple[str, ...]:
    """Return the names of the split folders, or ("",) if class folders are under the root."""
    names = folders("")
    splits = tuple(name for name in sorted(names) if name.casefold() in SPLIT_OF and folders(name))
    beside = sorted(set(names) - set(splits))
    if splits and beside:
        raise SourceError(
            f"{root} has {' and '.join(splits)} beside {', '.join(map(shown, beside))}: keep either class folders, or "
            "train/, validation/ and test/ with class folders in them."
        )
    return splits or ("",)


def split_and_label(name: str, tops: tuple[str, ...]) -> tuple[str | None, str | None]:
    """Return the given split and the label of a file, from its name relative to the root."""
    *folders, _ = name.split("/")
    split = SPLIT_OF[folders.pop(0).casefold()] if folders and folders[0] in tops else None
    return split, folders[0] if folders else None


def is_hidden(name: str) -> bool:
    """Return whether the name of a file or folder begins with a dot, or is one that an operating system puts there."""
    return name.startswith(".") or name.casefold() in SYSTEM


def is_text(name: str) -> bool:
    """Return whether all of `name` is UTF-8."""
    return shown(name) == name


def shown(name: str) -> str:
    """Return `name` with bytes that are not UTF-8 written as backslash escapes."""
    return os.fsencode(name).decode(errors="backslashreplace")
