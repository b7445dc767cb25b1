"""Nodes of `ensemble`."""

import pandas as pd

from glasshead import __version__
from glasshead.device import choose_device
from glasshead.errors import ArtifactError, ParameterError
from glasshead.images.fitting import fitting_digest
from glasshead.images.table import ImageTable
from glasshead.models.classifier import Classifier
from glasshead.models.ensemble import Ensemble
from glasshead.models.store import ClassifierStore
from glasshead.pipelines.ensemble.params import EnsembleParams
from glasshead.serving.predict import logits_table


def average_classifiers(
    classifiers: ClassifierStore,
    images: ImageTable,
    fitting_samples: pd.DataFrame,
    parameters: EnsembleParams,
) -> Ensemble:
    """Return the classifier that averages the members' calibrated probabilities, not yet calibrated itself.

    Raises:
        ArtifactError: a member is not there, or was trained on other images or other splits than these.
        ParameterError: a member is named twice, or has other classes than the first.
    """
    if len(set(parameters.members)) < len(parameters.members):
        raise ParameterError(
            f"`ensemble.members` names a classifier twice: {', '.join(parameters.members)}. Each counts once."
        )
    members = {name: classifiers.load(name) for name in parameters.members}
    data, rows = images.digest(), fitting_digest(fitting_samples)
    for name, member in members.items():
        known = member.provenance.get("data"), member.provenance.get("fitting_rows")
        if known != (data, rows):
            raise ArtifactError(
                f"The classifier {name} was trained on other {'images' if known[0] != data else 'splits'} than those "
                "there are now. Run the pipeline that trains it again."
            )
    provenance = {
        "data": data,
        "fitting_rows": rows,
        "members": {name: member.provenance for name, member in members.items()},
        "glasshead": __version__,
    }
    return Ensemble(list(members.values()), provenance)


def predict_logits(
    classifier: Classifier, images: ImageTable, samples: pd.DataFrame, parameters: EnsembleParams
) -> pd.DataFrame:
    """Return raw logits of all rows, beside image_id, split and label.

    Raises ArtifactError if `samples` were not made of `images`.
    """
    device = choose_device(parameters.device, "ensemble.device")
    return logits_table(classifier, images, samples, device)
