"""The linear probe: logistic regression on frozen embeddings, the usual yardstick of a representation."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

if TYPE_CHECKING:  # scikit-learn takes a second to import
    from sklearn.pipeline import Pipeline

Labelled = tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"]]


class LinearProbe(NamedTuple):
    """A fitted probe, its strength (scikit-learn's C, the inverse of regularisation) and its validation accuracy."""

    model: "Pipeline"
    strength: float
    validation_accuracy: float

    def predict(self, embeddings: Float[np.ndarray, "n d"]) -> Int[np.ndarray, " n"]:
        """Return class indices."""
        predicted: Any = self.model.predict(embeddings)
        return np.asarray(predicted)


def fit_linear_probe(
    train: Labelled, validation: Labelled, strengths: tuple[float, ...]
) -> LinearProbe:
    """Fit a probe for each strength on standardised `train` rows; return the most accurate on `validation` rows.

    Of equally accurate probes, the most regularised is returned. Radford et al. 2021, arXiv:2103.00020, section 3.2,
    choose the regularisation in the same way.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probes = []
    for strength in sorted(strengths):
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=strength, max_iter=1000, tol=1e-3)
        )
        model.fit(*train)
        probes.append(LinearProbe(model, strength, float(model.score(*validation))))
    return max(probes, key=lambda probe: probe.validation_accuracy)
