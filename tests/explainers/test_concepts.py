"""A bottleneck's concepts as players: which columns, which output, which engine."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from glasshead.explainers.concepts import concept_game, player_columns, shapley_values
from glasshead.explainers.shapley import SampledAttribution, shapley_interactions

CLASSES = 3


def bottleneck(widths: tuple[int, ...], activation: nn.Module) -> SimpleNamespace:
    torch.manual_seed(0)
    columns = sum(widths)
    meta = nn.Sequential(nn.Linear(columns, 8), activation, nn.Linear(8, CLASSES)).double()
    tasks = [
        SimpleNamespace(name=f"task{k}", values=tuple("abcdefgh"[:width]))
        for k, width in enumerate(widths)
    ]
    return SimpleNamespace(
        concepts=tasks, temperature=0.5, meta_learner=meta, logits_from_concepts=meta
    )


def probabilities(seed: int, rows: int, widths: tuple[int, ...]) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    parts = [torch.rand(rows, width, generator=draw, dtype=torch.float64) for width in widths]
    return torch.cat([part / part.sum(dim=1, keepdim=True) for part in parts], dim=1)


def test_players_are_subtasks_or_their_values():
    subtasks = bottleneck((2, 3), nn.ReLU()).concepts
    assert player_columns(subtasks, "subtasks") == {"task0": range(2), "task1": range(2, 5)}
    single = player_columns(subtasks, "values")
    assert list(single) == ["task0/a", "task0/b", "task1/a", "task1/b", "task1/c"]
    assert [list(part) for part in single.values()] == [[0], [1], [2], [3], [4]]


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Tanh()])
@pytest.mark.parametrize("output", ["probability", "logit"])
@pytest.mark.parametrize("players", ["subtasks", "values"])
def test_engines_agree_on_the_output_asked_for(activation, output, players):
    widths, targets = (2, 3, 2), torch.tensor([2, 0, 1])
    classifier = bottleneck(widths, activation)
    rows, background = probabilities(0, 3, widths), probabilities(1, 9, widths)
    game = concept_game(classifier, rows, background, targets, players, output)
    exact, kernel = (shapley_values(game, engine, 4096, 0) for engine in ("exact", "kernel"))
    np.testing.assert_allclose(exact.values, kernel.values, atol=1e-6)
    logits = classifier.meta_learner(rows).detach()
    outputs = logits if output == "logit" else (logits / 0.5).softmax(dim=1)
    np.testing.assert_allclose(exact.output, outputs[range(3), targets], atol=1e-12)
    pairs = shapley_interactions(game)
    np.testing.assert_allclose(pairs.values.sum(axis=2), exact.values, atol=1e-12)


def test_too_many_players_are_estimated_with_error_bars(caplog):
    widths = (8, 8, 2)
    given = bottleneck(widths, nn.ReLU()), probabilities(0, 2, widths), probabilities(1, 5, widths)
    game = concept_game(*given, torch.tensor([0, 1]), players="values")
    found = shapley_values(game, "exact", 500, 0)
    assert isinstance(found, SampledAttribution)
    assert "too costly for 18 players" in caplog.text
    assert found.standard_error.shape == found.values.shape == (2, 18)
    np.testing.assert_allclose(found.gap, 0, atol=1e-10)
