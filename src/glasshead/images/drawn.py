"""Scenes as pixels, each drawn when it is first read: training data without files."""

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from glasshead.images.scenes import CLASSES, CleanScenesParams, Split, scene_at

OTHER_COLOURS = [2, 0, 1]  # blue, red, green in place of red, green, blue: every hue turns by 120°


class DrawnScenes:
    """One split of the scenes of `seed` with changed hues, read by row from any thread.

    Rows that are never read are never drawn.
    """

    def __init__(self, params: CleanScenesParams, seed: int, split: Split) -> None:
        rows = params.train if split == "train" else params.test
        self.labels: Int[Tensor, " n"] = torch.arange(rows) % len(CLASSES)
        self._params, self._seed, self._split = params, seed, split
        self._pixels = np.empty((rows, params.size, params.size, 3), dtype=np.uint8)
        self._drawn = np.zeros(rows, dtype=bool)

    def __call__(self, rows: Int[Tensor, " b"]) -> UInt8[Tensor, "b 3 h w"]:
        """Return the pixels of `rows`, 0 to 255."""
        wanted = rows.numpy()
        for row in wanted[~self._drawn[wanted]]:
            scene = scene_at(self._params, self._seed, self._split, int(row))
            self._pixels[row] = scene.pixels[..., OTHER_COLOURS]
            self._drawn[row] = True
        return torch.from_numpy(self._pixels[wanted]).permute(0, 3, 1, 2).contiguous()
