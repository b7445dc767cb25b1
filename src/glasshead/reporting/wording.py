"""Numbers, intervals and names as documents write them."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

LONGEST = 60  # characters of a name

Estimate = Mapping[str, Any]  # value, and where they are known low, high and n


def number(value: Any) -> str:
    """Return four significant digits, whole numbers whole; "undefined" for None."""
    if value is None:
        return "undefined"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def interval(estimate: Estimate) -> str:
    """Return "low to high", or nothing where there is no interval."""
    if estimate.get("low") is None:
        return ""
    return f"{number(estimate['low'])} to {number(estimate['high'])}"


def estimated(estimate: Estimate) -> str:
    """Return "value (low to high)"."""
    bounds = interval(estimate)
    return f"{number(estimate['value'])} ({bounds})" if bounds else number(estimate["value"])


def spelled(value: Any) -> str:
    """Return settings, however nested, on one line: "epochs: 15; losses (bce: 1; patch: 1)"."""
    if isinstance(value, Mapping):
        return "; ".join(
            f"{key} ({spelled(item)})" if isinstance(item, Mapping) else f"{key}: {spelled(item)}"
            for key, item in value.items()
        )
    if isinstance(value, list | tuple):
        return ", ".join(
            f"({spelled(item)})" if isinstance(item, Mapping) else spelled(item) for item in value
        )
    return "none" if value is None else str(value)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table, each by column."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def clipped(text: Any, longest: int = LONGEST) -> str:
    """Return a name on one line and of up to `longest` characters; what UTF-8 cannot write becomes "?"."""
    line = " ".join(str(text).encode(errors="replace").decode().split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
