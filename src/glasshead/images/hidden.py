"""Names that no person put among images: hidden ones, and what operating systems leave behind."""

SYSTEM = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"}  # Windows, and zip files of macOS


def is_hidden(name: str) -> bool:
    """Return whether a file or folder begins with a dot, or is one that an operating system has put there."""
    return name.startswith(".") or name.casefold() in SYSTEM
