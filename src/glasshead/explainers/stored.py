"""Stored maps of several methods: which method explained which images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from glasshead.explainers.attribution import Attribution, Explanation
from glasshead.explainers.methods import METHODS


@dataclass(frozen=True)
class MethodMaps:
    """A method's maps (r, h, w) of the images in `rows` (r,), which are indices of all explained images."""

    rows: Int[np.ndarray, " r"]
    maps: Float[np.ndarray, "r h w"]

    @property
    def unsigned(self) -> bool:
        """Whether no value is negative: such a method shows how much a pixel matters, not for what."""
        return not (self.maps < 0).any()

    def of(self, row: int) -> Float[np.ndarray, "h w"] | None:
        """Return the map of image `row`, or None if the method did not explain it."""
        matches = np.flatnonzero(self.rows == row)
        return self.maps[matches[0]] if len(matches) else None


def method_maps(arrays: Mapping[str, np.ndarray]) -> dict[str, MethodMaps]:
    """Return the maps of each method in the order of `arrays["methods"]`, without baselines.

    `arrays` holds for each method m its values as m, the explained rows as m/rows, and m/base and m/output if values
    add up to their difference.
    """
    names = [str(name) for name in arrays["methods"] if not _is_baseline(str(name))]
    return {name: MethodMaps(arrays[f"{name}/rows"], _maps(arrays, name)) for name in names}


def _is_baseline(name: str) -> bool:
    return name in METHODS and METHODS[name].family == "baseline"


def _maps(arrays: Mapping[str, np.ndarray], name: str) -> Float[np.ndarray, "r h w"]:
    if f"{name}/base" not in arrays:
        return Explanation(arrays[name]).maps
    return Attribution(arrays[name], arrays[f"{name}/base"], arrays[f"{name}/output"]).maps
