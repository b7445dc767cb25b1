"""Where what is known of an image lies in the pixels that a network reads: masks, resized and cropped as images are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glasshead.images.pixels import Prepare

Mask = NDArray[np.bool_]


def masks_as_seen(
    prepare: Prepare, masks: Sequence[Mask | None], pictures: Sequence[Image.Image]
) -> NDArray[np.bool_]:
    """Return masks (n, h, w) as `prepare` makes images of them; none of a picture is False everywhere."""
    drawn = [
        Image.fromarray(np.zeros(picture.size[::-1], bool) if mask is None else mask).convert("RGB")
        for mask, picture in zip(masks, pictures, strict=True)
    ]
    seen: NDArray[np.bool_] = prepare(drawn)[:, 0].numpy() > 127
    return seen


def square_mask(box: str | None, picture: Image.Image) -> Mask | None:
    """Return the mask of "x,y,width,height" in a picture's pixels, as planted marks are written; None of None."""
    if box is None:
        return None
    x, y, width, height = map(int, box.split(","))
    mask = np.zeros(picture.size[::-1], bool)
    mask[y : y + height, x : x + width] = True
    return mask
