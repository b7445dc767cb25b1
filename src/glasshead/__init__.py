"""Glasshead: image classifiers you can see through, and audits for any image classifier."""

import os
from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any

__version__ = "0.2.0"


def load(folder: str | os.PathLike[str]) -> Any:
    """Return a `glasshead.serving.predictor.Predictor` for the Classifier in `folder`: `load(folder).predict(images)`.

    torch, whose import takes seconds, is imported by this call and not before. Raises ArtifactError if there is no
    Classifier in `folder`.
    """
    return resolve_name("glasshead.serving.predictor:load")(folder)


def audit_model(
    model: Any,
    images: str | os.PathLike[str],
    contract: Mapping[str, Any] | None = None,
    trained_on: str | None = None,
    seed: int = 42,
) -> Any:
    """Return the `glasshead.direct_audit.Audit` of a model in memory on a folder of images: metrics, findings and more.

    Args:
        model: a torch.nn.Module, or a model of MAITE's protocol for image classification: called with a list of arrays
            (3, h, w), it returns scores for each.
        images: a folder with a folder for each class, or with train/, validation/ and test/ of such folders.
        contract: what the model reads and returns; the keys are those of external.contract.
        trained_on: none, or the path of a folder or list of the images that the model learned, as
            preprocess.trained_on.
        seed: seeds the resamples of intervals and the choice of images for the preflight.

    Raises:
        ModelError: model and contract do not fit each other or the images.
        ParameterError: the contract has an unknown key or a wrong value.
        SourceError, SplitError: the images cannot be read, or a class has too few of them.
    """
    audit = resolve_name("glasshead.direct_audit:audit_model")
    return audit(model, images, contract, trained_on, seed)
