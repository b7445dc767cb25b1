"""The script inside a logged MLflow model, from images to calibrated probabilities; see routes.log_classifier."""

from pathlib import Path

import mlflow
import numpy as np
import torch
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from glasshead.models.classifier import Classifier


class ServedClassifier(PythonModel):
    """`predict({"images": (b, 3, h, w) in [0, 1]})` returns probabilities `(b, k)`, one for each class, in order."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the Classifier from its folder, which is stored in the model."""
        self.classifier = Classifier.load(Path(context.artifacts["classifier"])).eval()

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Return float32 probabilities `(b, k)`; there are no type hints, as MLflow would read them as a schema."""
        images = torch.as_tensor(np.asarray(model_input["images"], dtype=np.float32))
        with torch.inference_mode():
            return self.classifier.probabilities(images).numpy()


mlflow.models.set_model(ServedClassifier())
