"""Parameters of explanations by concepts."""

from typing import Literal

from pydantic import BaseModel, PositiveInt

from glasshead.explainers.concepts import Output, Players
from glasshead.explainers.methods import METHODS


class ConceptParams(BaseModel, extra="forbid", frozen=True):
    """How a bottleneck is explained.

    Attributes:
        players, output: what adds to what.
        random_orders: in how many of them concepts are corrected.
        maps: pixel methods that show why a concept has its answer, the first of them that applies.
        mapped: concepts whose answers are explained so at most, those that count most.
    """

    players: Players = "subtasks"
    output: Output = "probability"
    random_orders: PositiveInt = 5
    maps: tuple[Literal[tuple(METHODS)], ...] = ("gradient_weighted_attention", "grad_cam")  # type: ignore[valid-type]
    mapped: PositiveInt = 12
