"""Parameters of `explain`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, PositiveFloat, PositiveInt, field_validator

from glasshead.device import Device
from glasshead.explainers.concepts import Engine, Output, Players
from glasshead.explainers.evaluation import EvaluationParams
from glasshead.explainers.methods import METHODS
from glasshead.explainers.passes import Budget

Classes = Annotated[tuple[str, ...], Field(min_length=1)]


def _check_disjoint(sides: tuple[Classes, Classes]) -> tuple[Classes, Classes]:
    both = sorted(set(sides[0]) & set(sides[1]))
    if both:
        raise ValueError(f"{', '.join(both)} cannot stand on both sides of a view; choose one side")
    return sides


View = Annotated[tuple[Classes, Classes], AfterValidator(_check_disjoint)]
Views = dict[str, View]  # name of a view to the classes of its two sides

RIGID = ("airplane", "automobile", "ship", "truck")
ORGANIC = ("bird", "cat", "deer", "dog", "frog", "horse")
VIEWS: Views = {
    "rigid against organic": (RIGID, ORGANIC),
    "cat and dog": (("cat",), ("dog",)),
    "plane and bird": (("airplane",), ("bird",)),
}


class ConceptParams(BaseModel, extra="forbid", frozen=True):
    """How a bottleneck is explained.

    Attributes:
        players: what gets Shapley values, subtasks or single values.
        output: what the Shapley values explain, the class's probability or its logit.
        random_orders: the number of random orders in which interventions correct concepts.
        maps: pixel methods for the answers of concepts; the first that applies is used.
        mapped: for how many concepts such maps are made; the most important concepts come first.
    """

    players: Players = "subtasks"
    output: Output = "probability"
    random_orders: PositiveInt = 5
    maps: tuple[Literal[tuple(METHODS)], ...] = ("gradient_weighted_attention", "grad_cam")  # type: ignore[valid-type]
    mapped: PositiveInt = 12


DEFAULT_METHODS: dict[str, int | None] = {
    name: None for name in METHODS if name not in ("lime", "gradient_shap")
}


class ExplainParams(BaseModel, extra="forbid", frozen=True):
    """How many test images are explained, by which methods, and with which budget.

    Attributes:
        seconds: about how long pixel explanations and their measures may take on two cores of a laptop; if they would
            take longer, `plan_explanations` reduces their counts. None: no limit.
        images: test images in figures; half of them are mistakes, and classes are balanced.
        methods: names in `METHODS`, each with the number of evaluation images that the method explains; None: all of
            them, and the images in figures.
        budget: how much each method may compute; `seed` is replaced by the project's.
        evaluation: the size of the evaluation.
        background: train images that replace the concepts missing from a coalition.
        engine, max_coalitions, concepts: settings of Shapley values and interventions.
        n_resamples: resamples of the bootstrap.
        device: where pixels are explained; concepts are always explained on the CPU.
        neighbours: train images shown beside each explained one, of the predicted class and of another.
        views: names, each with the two groups of classes that the view compares.
    """

    seconds: PositiveFloat | None = None
    images: PositiveInt = 24
    methods: dict[str, PositiveInt | None] = DEFAULT_METHODS
    budget: Budget = Budget()
    evaluation: EvaluationParams = EvaluationParams()
    background: PositiveInt = 100
    engine: Engine = "exact"
    max_coalitions: PositiveInt = 4096
    concepts: ConceptParams = ConceptParams()
    n_resamples: PositiveInt = 1000
    device: Device = "auto"
    neighbours: PositiveInt = 3
    views: Views = VIEWS

    @field_validator("methods")
    @classmethod
    def _known(cls, methods: dict[str, int | None]) -> dict[str, int | None]:
        unknown = [name for name in methods if name not in METHODS]
        if unknown:
            raise ValueError(f"there is no method {unknown[0]!r}; choose from {', '.join(METHODS)}")
        return methods
