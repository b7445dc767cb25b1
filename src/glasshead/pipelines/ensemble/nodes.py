"""Nodes of `ensemble`."""

import pandas as pd
from pydantic import BaseModel, Field

from glasshead import __version__
from glasshead.device import Device
from glasshead.errors import ParameterError
from glasshead.images.fitting import check_fitted_on, fitting_digest
from glasshead.images.table import ImageTable
from glasshead.models.ensemble import Ensemble
from glasshead.models.store import ClassifierStore


class EnsembleParams(BaseModel, extra="forbid", frozen=True):
    """The names of the calibrated classifiers to average, and the device that they compute on."""

    members: tuple[str, ...] = Field(default=("cnn", "transfer"), min_length=2)
    device: Device = "auto"


def average_classifiers(
    classifiers: ClassifierStore,
    images: ImageTable,
    fitting_samples: pd.DataFrame,
    parameters: EnsembleParams,
) -> Ensemble:
    """Return the uncalibrated classifier that averages the members' calibrated probabilities.

    Raises:
        ArtifactError: a member is missing, or was trained on other images or splits.
        ParameterError: a member is named twice, or has other classes than the first member.
    """
    if len(set(parameters.members)) < len(parameters.members):
        raise ParameterError(
            f"`ensemble.members` names a classifier twice: {', '.join(parameters.members)}. Name each once."
        )
    members = {name: classifiers.load(name) for name in parameters.members}
    for name, member in members.items():
        check_fitted_on(member.provenance, images, fitting_samples, f"classifier {name}")
    provenance = {
        "data": images.digest(),
        "fitting_rows": fitting_digest(fitting_samples),
        "members": {name: member.provenance for name, member in members.items()},
        "glasshead": __version__,
    }
    return Ensemble(list(members.values()), provenance)
