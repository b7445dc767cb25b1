"""Masks as a network sees them."""

import numpy as np
from PIL import Image

from glasshead.images.seen import masks_as_seen, square_mask
from glasshead.models.processor import resize_and_crop


def test_masks_are_resized_and_cropped_as_their_pictures():
    picture = Image.new("RGB", (16, 8))
    mask = np.zeros((8, 16), bool)
    mask[:, 4:8] = True  # the left half of the middle square
    seen = masks_as_seen(lambda found: resize_and_crop(found, 4), [mask, None], [picture] * 2)
    np.testing.assert_array_equal(seen[0], np.tile([True, True, False, False], (4, 1)))
    assert not seen[1].any()


def test_a_square_is_where_its_box_says():
    mask = square_mask("1,2,3,2", Image.new("RGB", (6, 5)))
    assert [part.tolist() for part in np.nonzero(mask)] == [[2, 2, 2, 3, 3, 3], [1, 2, 3] * 2]
    assert square_mask(None, Image.new("RGB", (6, 5))) is None
