"""Channel counts of networks that come in several widths."""

MULTIPLE = 8  # what vector units divide evenly


def scaled(channels: int, width: float) -> int:
    """Return `channels` times `width` as the nearest positive multiple of 8."""
    return max(MULTIPLE, round(channels * width / MULTIPLE) * MULTIPLE)
