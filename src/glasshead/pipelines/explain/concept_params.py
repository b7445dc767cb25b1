"""Parameters of explanations by concepts."""

from typing import Literal

from pydantic import BaseModel, PositiveInt

from glasshead.explainers.concepts import Output, Players
from glasshead.explainers.methods import METHODS


class ConceptParams(BaseModel, extra="forbid", frozen=True):
    """How a bottleneck is explained.

    Attributes:
        players, output: what is explained by what: subtasks or values, probability or logit.
        random_orders: the number of random orders in which concepts are corrected.
        maps: pixel methods for the answers of concepts; the first that applies is used.
        mapped: the number of concepts with such maps, the most important ones.
    """

    players: Players = "subtasks"
    output: Output = "probability"
    random_orders: PositiveInt = 5
    maps: tuple[Literal[tuple(METHODS)], ...] = ("gradient_weighted_attention", "grad_cam")  # type: ignore[valid-type]
    mapped: PositiveInt = 12
