"""Parameters of explanations by concepts."""

from pydantic import BaseModel, PositiveInt

from glasshead.explainers.concepts import Output, Players


class ConceptParams(BaseModel, extra="forbid", frozen=True):
    """What adds to what, and in how many random orders concepts are corrected."""

    players: Players = "subtasks"
    output: Output = "probability"
    random_orders: PositiveInt = 5
