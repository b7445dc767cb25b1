"""Rows of risks: features by place in the table, as maps, beside their targets."""

import numpy as np
import torch

from glasshead.images.risks import Risk, add_risk_labels
from glasshead.images.sources.base import plain_record
from glasshead.images.table import ImageTable
from glasshead.models.risk import as_map
from glasshead.pipelines.risk.nodes import risk_rows


def features(rows: np.ndarray) -> torch.Tensor:
    """Return patch tokens (b, 4, 3) that tell of which row of the table they are."""
    return torch.from_numpy(rows)[:, None, None] + torch.arange(12.0).view(1, 4, 3) / 100


def test_rows_come_with_their_targets_and_as_maps():
    records = (
        plain_record(f"train/{row}", bytes([row]), "cat" if row % 3 else "dog", None)
        for row in range(12)
    )
    images = ImageTable.from_records(records, ("cat", "dog"))
    samples = images.frame().assign(split="train").iloc[[9, 4]]
    targets = add_risk_labels(samples, [Risk(name="dog", classes=("dog",))], images.classes)
    rows = risk_rows(images, targets, features)
    assert rows.labels.tolist() == [[1], [0]]
    torch.testing.assert_close(rows.take(np.array([1])), as_map(features(np.array([4]))))
    assert rows.take(np.array([1, 0])).shape == (2, 3, 2, 2)
