"""Concepts set by hand, on a bottleneck whose rule is known: class = the answers of two of three subtasks."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from glasshead.explainers.interventions import (
    correct_subtasks,
    intervention_curve,
    known_concepts_curve,
    predict_classes,
    set_probability,
    subtask_entropy,
)

SUBTASKS = [
    SimpleNamespace(name="animal", values=("no", "yes")),
    SimpleNamespace(name="legs", values=("none", "two", "four")),
    SimpleNamespace(name="colour", values=("red", "blue")),
]
ANIMAL, LEGS, COLOUR = range(2), range(2, 5), range(5, 7)  # their columns


def rule() -> SimpleNamespace:
    """Return class 3 · animal + legs by the larger sum of logarithms; colour is ignored."""
    meta = nn.Linear(7, 6, bias=False)
    weight = torch.zeros(6, 7)
    for animal in range(2):
        for legs in range(3):
            weight[3 * animal + legs, [animal, 2 + legs]] = 4.0
    meta.weight.data = weight
    return SimpleNamespace(
        concepts=SUBTASKS, temperature=2.0, meta_learner=meta, logits_from_concepts=meta
    )


def concepts_of(answers: Tensor, sure: Tensor) -> Tensor:
    """Return probabilities that give each answer `sure`, and the rest in equal parts to the others."""
    parts = []
    for task, subtask in enumerate(SUBTASKS):
        width = len(subtask.values)
        truth = nn.functional.one_hot(answers[:, task], width)
        chance = sure[:, task, None]
        parts.append(truth * chance + (1 - truth) * (1 - chance) / (width - 1))
    return torch.cat(parts, dim=1)


@pytest.fixture
def answers() -> Tensor:
    return torch.tensor([[1, 2, 0], [0, 0, 1], [1, 1, 1], [0, 2, 0]])


def labels(answers: Tensor) -> Tensor:
    return 3 * answers[:, 0] + answers[:, 1]


def test_a_value_set_by_hand_leaves_the_others_their_fractions():
    concepts = torch.tensor(
        [[0.3, 0.7, 0.2, 0.6, 0.2, 0.5, 0.5], [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0]]
    )
    found = set_probability(concepts, LEGS, 1, 0.2)
    np.testing.assert_allclose(found[0], [0.3, 0.7, 0.4, 0.2, 0.4, 0.5, 0.5], atol=1e-6)
    np.testing.assert_allclose(found[1], [0, 1, 0.4, 0.2, 0.4, 1, 0], atol=1e-6)  # equal parts
    assert concepts[0, 3] == pytest.approx(0.6)  # what is given stays as it is
    same = set_probability(concepts, LEGS, 1, 0.6)
    np.testing.assert_allclose(same[0], concepts[0], atol=1e-6)


def test_no_animal_flips_animals_alone(answers):
    concepts = concepts_of(answers, torch.full((4, 3), 0.9))
    np.testing.assert_array_equal(predict_classes(rule(), concepts), labels(answers))
    without = set_probability(concepts, ANIMAL, 1, 0)
    np.testing.assert_array_equal(predict_classes(rule(), without), answers[:, 1])
    ignored = set_probability(concepts, COLOUR, 0, 0)
    np.testing.assert_array_equal(predict_classes(rule(), ignored), labels(answers))


def test_correction_writes_the_truth_where_it_is_asked_to(answers):
    concepts = concepts_of(answers, torch.full((4, 3), 0.1))
    corrected = torch.tensor([[True, False, False]]).expand(4, 3)
    found = correct_subtasks(SUBTASKS, concepts, answers, corrected)
    np.testing.assert_array_equal(found[:, :2], nn.functional.one_hot(answers[:, 0], 2))
    np.testing.assert_array_equal(found[:, 2:], concepts[:, 2:])


def test_entropy_is_that_of_the_answers():
    concepts = torch.tensor([[0.5, 0.5, 1.0, 0.0, 0.0, 0.25, 0.75]])
    expected = [np.log(2), 0, -0.25 * np.log(0.25) - 0.75 * np.log(0.75)]
    np.testing.assert_allclose(subtask_entropy(SUBTASKS, concepts)[0], expected, atol=1e-7)


def test_the_most_uncertain_concept_is_corrected_first(answers):
    """Legs are wrong and uncertain, everything else right and sure: one correction is enough."""
    sure = torch.tensor([[0.95, 0.3, 0.99]]).expand(4, 3)
    curve = intervention_curve(
        rule(), concepts_of(answers, sure), answers, labels(answers), "uncertainty"
    )
    np.testing.assert_array_equal(curve.mean(axis=1), [0, 1, 1, 1])


def test_random_orders_correct_the_concept_that_matters_when_its_turn_comes():
    answers = torch.tensor([[1, 2, 0]]).repeat(600, 1)
    concepts = concepts_of(answers, torch.tensor([[0.95, 0.3, 0.99]]).expand(600, 3))
    given = rule(), concepts, answers, labels(answers), "random"
    curve = intervention_curve(*given, seed=0)
    np.testing.assert_allclose(curve.mean(axis=1), [0, 1 / 3, 2 / 3, 1], atol=0.08)
    np.testing.assert_array_equal(curve, intervention_curve(*given, seed=0))
    assert (curve != intervention_curve(*given, seed=1)).any()


def test_accuracy_at_k_concepts_is_what_k_answers_can_tell():
    """All six classes alike: chance with nothing known, a half by legs less animal, all by both."""
    answers = torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(2))
    concepts = concepts_of(answers, torch.ones(len(answers), 3))
    given = rule(), concepts, concepts, labels(answers)
    found = known_concepts_curve(*given, order=[1, 2, 0]).mean(axis=1)
    np.testing.assert_allclose(found, [1 / 6, 1 / 2, 1 / 2, 1])
    found = known_concepts_curve(*given, order=[0, 1, 2]).mean(axis=1)
    np.testing.assert_allclose(found, [1 / 6, 1 / 3, 1, 1])
