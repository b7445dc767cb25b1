"""Parameters of `explain`."""

from pydantic import BaseModel, PositiveInt, field_validator

from glasshead.device import Device
from glasshead.explainers.concepts import Engine
from glasshead.explainers.evaluation import EvaluationParams
from glasshead.explainers.methods import METHODS
from glasshead.explainers.passes import Budget
from glasshead.pipelines.explain.concept_params import ConceptParams
from glasshead.pipelines.explain.gallery_params import VIEWS, Views

DEFAULT_METHODS: dict[str, int | None] = {
    name: None for name in METHODS if name not in ("lime", "gradient_shap")
}


class ExplainParams(BaseModel, extra="forbid", frozen=True):
    """How many test images are explained, by which methods, and how much that and its evaluation may cost.

    Attributes:
        images: shown in figures; half of them wrong, balanced over the classes.
        methods: of `METHODS`, each with how many of the images it is measured on it explains, no others then;
            None is all images, those shown too.
        budget: what each method may compute; its `seed` is the project's.
        evaluation: what measuring them may cost.
        background: train images that stand in for the concepts a coalition lacks.
        engine, max_coalitions, concepts: of Shapley values and interventions.
        n_resamples: of the bootstrap.
        device: where pixels are explained; concepts are explained on the CPU, which is enough for them.
        neighbours: train images beside each explained one, of the predicted class and of another.
        views: by name the classes of two sides to compare.
    """

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
