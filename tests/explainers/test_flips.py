"""Values set by hand on a bottleneck whose class is one concept: that one flips what it must, the other nothing."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from glasshead.explainers.flips import measure_flips

CLASSES = ("wild", "tame", "none")


@pytest.fixture
def classifier() -> SimpleNamespace:
    """Return a classifier of the answer to `kind`, which has three values; `colour` is ignored."""
    meta = nn.Linear(5, 3, bias=False)
    meta.weight.data = torch.eye(5)[:3]
    tasks = [
        SimpleNamespace(name="kind", values=("wild", "tame", "none")),
        SimpleNamespace(name="colour", values=("red", "blue")),
    ]
    return SimpleNamespace(
        concepts=tasks, temperature=1.0, meta_learner=meta, logits_from_concepts=meta
    )


def test_only_the_concept_that_decides_flips_anything(classifier):
    concepts = torch.tensor(
        [[0.7, 0.2, 0.1, 0.9, 0.1]] * 6 + [[0.1, 0.3, 0.6, 0.2, 0.8]] * 2
    )  # wild, then none
    found = measure_flips(classifier, CLASSES, concepts, n_resamples=200, seed=0)
    assert len(found) == 10
    rows = found.set_index(["subtask", "value", "probability"])
    assert rows.loc[("kind", "tame", 1), ["fraction", "to", "to_fraction"]].tolist() == [
        1,
        "tame",
        1,
    ]
    assert rows.loc[("kind", "wild", 0), ["fraction", "to"]].tolist() == [6 / 8, "tame"]
    assert rows.loc[("kind", "wild", 1), ["fraction", "to"]].tolist() == [2 / 8, "wild"]
    assert rows.loc[("kind", "none", 0), ["fraction", "to"]].tolist() == [2 / 8, "tame"]
    assert rows.loc[("kind", "tame", 0), "fraction"] == 0
    low, high = rows.loc[("kind", "wild", 0), ["low", "high"]]
    assert 0 < low < 6 / 8 < high < 1.01
    ignored = rows.loc["colour"]
    assert (ignored["fraction"] == 0).all()
    assert ignored["to"].isna().all()
    assert ignored["to_fraction"].isna().all()
    assert (found["n"] == 8).all()
