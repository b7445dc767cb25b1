"""Hide areas of images by filling each with the mean colour around it."""

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy.ndimage import binary_dilation

RING = 2  # width in pixels of the ring around a mask; its mean colour fills the mask


def hide(
    pixels: UInt8[np.ndarray, "n 3 h w"], masks: Bool[np.ndarray, "n h w"]
) -> UInt8[np.ndarray, "n 3 h w"]:
    """Return copies in which the pixels of `masks` have the mean colour of the ring around them."""
    hidden = pixels.copy()
    for image, mask in zip(hidden, masks, strict=True):
        image[:, mask] = _surroundings(image, mask).round()[:, None]
    return hidden


def elsewhere(masks: Bool[np.ndarray, "n h w"]) -> Bool[np.ndarray, "n h w"]:
    """Return masks mirrored left to right: of the same size and distance from the edge, at another place."""
    return masks[:, :, ::-1].copy()


def squares_at(
    centres: Int[np.ndarray, "n 2"], side: int, shape: tuple[int, int]
) -> Bool[np.ndarray, "n h w"]:
    """Return squares of `side` pixels around `centres` (row, column), cut off at the edges of images of `shape`.

    A square around a pixel has an odd side, so an even `side` is reduced by one.
    """
    distance = [
        np.abs(np.arange(length) - centres[:, axis, None]) for axis, length in enumerate(shape)
    ]
    rows, columns = (2 * offsets < side for offsets in distance)
    return rows[:, :, None] & columns[:, None, :]


def striking_colour(pixels: UInt8[np.ndarray, "n 3 h w"], masks: Bool[np.ndarray, "n h w"]) -> str:
    """Return as #rrggbb the median, over images, of the masked pixel least like the ring around the mask."""
    colours = []
    for image, mask in zip(pixels, masks, strict=True):
        inside = image[:, mask].astype(float)
        distance = np.linalg.norm(inside - _surroundings(image, mask)[:, None], axis=0)
        colours.append(inside[:, distance.argmax()])
    red, green, blue = np.median(colours, axis=0).round().astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _surroundings(
    image: UInt8[np.ndarray, "3 h w"], mask: Bool[np.ndarray, "h w"]
) -> Float[np.ndarray, " 3"]:
    """Return the mean colour of the ring around a mask, or of the image if there is no ring."""
    ring = binary_dilation(mask, np.ones((3, 3)), iterations=RING) & ~mask
    mean: Float[np.ndarray, " 3"] = image[:, ring if ring.any() else ~ring].mean(axis=1)
    return mean
