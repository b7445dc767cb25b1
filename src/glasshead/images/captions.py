"""Captions of scenes and photographs, written from the known facts: class, size, colour, habitat."""

from collections.abc import Sequence
from itertools import product

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
    """Return for each row of an image table's frame the index of every fact's value, UNKNOWN where it is missing."""
    columns = []
    for name, values in FACTS.items():
        column = "label" if name == "class" else f"attribute/{name}"
        known = frame[column] if column in frame else pd.Series([None] * len(frame))
        columns.append(pd.Categorical(known, categories=values).codes)
    return np.stack(columns, axis=1).astype(np.int64)


def write_caption(statement: Sequence[int]) -> str:
    """Return "a photo of a <size> <colour> <class> <place>" with only what `statement` says."""
    known = {
        name: values[index]
        for (name, values), index in zip(FACTS.items(), statement, strict=True)
        if index != UNKNOWN
    }
    words = [
        "a photo of a",
        known.get("size"),
        known.get("colour"),
        known["class"],
        PLACES.get(known.get("habitat", "")),
    ]
    return " ".join(word for word in words if word)


def all_words() -> list[str]:
    """Return captions that together contain every word a caption can have."""
    return [
        write_caption(statement) for statement in product(*map(range, map(len, FACTS.values())))
    ]
