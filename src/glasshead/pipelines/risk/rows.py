"""The rows of risk heads: features of images, and which risks they have."""

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from glasshead.calibration.table import LABEL, class_columns
from glasshead.embedding.spatial import SpatialFeatures
from glasshead.images.fitting import table_rows
from glasshead.images.table import ImageTable
from glasshead.models.risk import as_map
from glasshead.training.risk import RiskRows


def risk_rows(images: ImageTable, targets: pd.DataFrame, features: SpatialFeatures) -> RiskRows:
    """Return the rows of `targets`, in their order; ArtifactError if they are not of `images`."""
    image_rows = table_rows(images, targets)

    def take(rows: np.ndarray) -> Float[Tensor, "b d h w"]:
        return as_map(features(image_rows[rows]))

    columns = [LABEL + risk for risk in class_columns(targets, LABEL)]
    labels = torch.from_numpy(targets[columns].to_numpy(np.float32, copy=True))
    return RiskRows(take, labels)
