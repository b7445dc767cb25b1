"""The linear probe: logistic regression on frozen embeddings, the usual yardstick of a representation."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from glasshead.progress import reported

if TYPE_CHECKING:  # scikit-learn takes a second to import
    from sklearn.pipeline import Pipeline

Labelled = tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"]]


# scikit-learn's C, the inverse of regularisation, among which the validation split chooses by default
STRENGTHS = (0.01, 0.1, 1.0)


class LinearProbe(NamedTuple):
    """A fitted probe, its strength (scikit-learn's C, the inverse of regularisation) and its validation accuracy."""

    model: "Pipeline"
    strength: float
    validation_accuracy: float

    def predict(self, embeddings: Float[np.ndarray, "n d"]) -> Int[np.ndarray, " n"]:
        """Return class indices."""
        predicted: Any = self.model.predict(embeddings)
        return np.asarray(predicted)

    def as_layer(self) -> tuple[Float[np.ndarray, "k d"], Float[np.ndarray, " k"]]:
        """Return weights and biases of the linear layer from embeddings that are not standardised to class logits."""
        scaler, regression = self.model[0], self.model[-1]
        weight, bias = regression.coef_, regression.intercept_
        if len(weight) == 1:  # of two classes, scikit-learn keeps the difference of their logits
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        weight = weight / scaler.scale_
        return weight, bias - weight @ scaler.mean_


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
    for strength in reported(sorted(strengths), "linear probes fitted", len(strengths)):
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=strength, max_iter=1000, tol=1e-3)
        )
        model.fit(*train)
        probes.append(LinearProbe(model, strength, float(model.score(*validation))))
    return max(probes, key=lambda probe: probe.validation_accuracy)
