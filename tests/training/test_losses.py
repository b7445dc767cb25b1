"""Class weights against scikit-learn's, validation against a count by hand."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, log_loss
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from glasshead.errors import ParameterError
from glasshead.training.batches import TensorBatches
from glasshead.training.losses import class_weights, validate

LABELS = torch.tensor([0, 0, 0, 0, 1, 1, 2])


def test_balanced_weights_are_scikit_learns():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS.numpy())
    assert class_weights("balanced", LABELS, 3).tolist() == pytest.approx(list(expected))


def test_a_class_without_rows_weighs_nothing_and_the_mean_over_rows_stays_1():
    weights = class_weights("balanced", LABELS, 5)
    assert weights[3:].tolist() == [0, 0]
    assert weights[LABELS].mean().item() == pytest.approx(1)


def test_weights_by_hand_keep_their_ratios():
    weights = class_weights((1.0, 2.0, 4.0), LABELS, 3)
    assert (weights / weights[0]).tolist() == pytest.approx([1, 2, 4])
    assert weights[LABELS].mean().item() == pytest.approx(1)
    assert class_weights(None, LABELS, 3) is None


def test_a_wrong_number_of_weights_is_refused():
    with pytest.raises(ParameterError, match="2 values for 3 classes"):
        class_weights((1.0, 2.0), LABELS, 3)


def test_validation_counts_and_measures_as_scikit_learn_does():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 3, 2, 2), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 3, (40,), generator=generator)
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 3)).train()
    found = validate(model, TensorBatches(images, labels), 7, "cpu", nullcontext())
    with torch.no_grad():
        probabilities = model(images / 255).double().softmax(dim=1).numpy()
    predicted = probabilities.argmax(axis=1)
    assert found.loss == pytest.approx(log_loss(labels, probabilities, labels=range(3)), rel=1e-5)
    assert found.accuracy == (predicted == labels.numpy()).mean()
    assert found.confusion.tolist() == confusion_matrix(labels, predicted, labels=range(3)).tolist()
    assert not model.training
