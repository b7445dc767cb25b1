"""Captions of scenes and photographs, built from what is known of an image: class, size, colour, habitat."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Int

from glasshead.images.scenes import CLASSES, COLOURS, HABITATS

UNKNOWN = -1
FACTS = {  # the order of the columns of `facts`; the class is always known
    "class": CLASSES,
    "size": ("small", "medium", "large"),
    "colour": tuple(COLOURS),
    "habitat": tuple(HABITATS),
}
PLACES = {
    "sky": "in the sky",
    "road": "on a road",
    "water": "on the water",
    "field": "in a field",
    "forest": "in a forest",
    "room": "in a room",
}


def encode_facts(frame: pd.DataFrame) -> Int[np.ndarray, "n k"]:
    """Return the index of each fact's value for the rows of an image table's frame, UNKNOWN where it is not given."""
    columns = []
    for name, values in FACTS.items():
        column = "label" if name == "class" else f"attribute/{name}"
        known = frame[column] if column in frame else pd.Series([None] * len(frame))
        columns.append(pd.Categorical(known, categories=values).codes)
    return np.stack(columns, axis=1).astype(np.int64)


def write_caption(statement: Sequence[int]) -> str:
    """Return "a photo of a <size> <colour> <class> <place>" with only what `statement` says."""
    said = {
        name: values[index]
        for (name, values), index in zip(FACTS.items(), statement, strict=True)
        if index != UNKNOWN
    }
    words = [
        "a photo of a",
        said.get("size"),
        said.get("colour"),
        said["class"],
        PLACES.get(said.get("habitat", "")),
    ]
    return " ".join(word for word in words if word)


def all_words() -> list[str]:
    """Return captions that hold every word a caption can have."""
    return [
        write_caption([CLASSES.index(name), size, colour, habitat])
        for name in CLASSES
        for size in range(len(FACTS["size"]))
        for colour in range(len(COLOURS))
        for habitat in range(len(HABITATS))
    ]
