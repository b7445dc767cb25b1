"""Glasshead: image classifiers you can see through, and audits for any image classifier."""

import os
from pkgutil import resolve_name
from typing import Any

__version__ = "0.2.0"


def load(folder: str | os.PathLike[str]) -> Any:
    """Return a `glasshead.serving.predictor.Predictor` for the Classifier in `folder`: `load(folder).predict(images)`.

    torch, whose import takes seconds, is imported by this call and not before. Raises ArtifactError if there is no
    Classifier in `folder`.
    """
    return resolve_name("glasshead.serving.predictor:load")(folder)
