"""How documents write numbers, intervals and names."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

LONGEST = 60  # characters of a name

LISTED = 20  # values of a list in a tree of settings
Estimate = Mapping[str, Any]  # value and, if known, low, high and n


def shortened(value: Any) -> Any:
    """Return JSON values in which each list of more than `LISTED` values names only the first ones, and their count."""
    if isinstance(value, Mapping):
        return {name: shortened(part) for name, part in value.items()}
    if not isinstance(value, list | tuple):
        return value
    if len(value) > LISTED and not any(isinstance(part, Mapping) for part in value):
        return [*map(shortened, value[:3]), f"… ({len(value)} in all)"]
    return [shortened(part) for part in value]


def number(value: Any) -> str:
    """Return an integer in full, a float with three significant digits, from 100 on rounded; "undefined" for None."""
    if value is None:
        return "undefined"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 100 and math.isfinite(value) else f"{value:.3g}"


def alike(value: Any, estimate: Estimate) -> str:
    """Return `value` rounded to the precision of `estimate`: two significant digits of the interval's width."""
    if value is None or estimate.get("low") is None or estimate["high"] <= estimate["low"]:
        return number(value)
    decimals = 1 - math.floor(math.log10(estimate["high"] - estimate["low"]))
    return f"{value:,.{max(0, decimals)}f}"


def central(estimate: Estimate) -> str:
    """Return the value of an estimate, rounded to the precision of its interval."""
    return alike(estimate["value"], estimate)


def interval(estimate: Estimate) -> str:
    """Return "low to high", or an empty text if there is no interval."""
    if estimate.get("low") is None:
        return ""
    return f"{alike(estimate['low'], estimate)} to {alike(estimate['high'], estimate)}"


def estimated(estimate: Estimate) -> str:
    """Return "value (low to high)"."""
    bounds = interval(estimate)
    return f"{central(estimate)} ({bounds})" if bounds else central(estimate)


def spelled(value: Any) -> str:
    """Return nested settings on one line: "epochs: 15; losses (bce: 1; patch: 1)"."""
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
    """Return the rows of a table as dictionaries."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def clipped(text: Any, longest: int = LONGEST) -> str:
    """Return a name on one line, of at most `longest` characters; "?" replaces what UTF-8 cannot encode."""
    line = " ".join(str(text).encode(errors="replace").decode().split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def plan_in_words(cut: Sequence[Sequence[Any]]) -> str:
    """Return what was reduced to keep explanations short: `cut` has name, wanted and planned count of each setting."""
    return ", ".join(f"{name} {planned} instead of {wanted}" for name, wanted, planned in cut)
