"""The recipes that `transfer_comparison` trains, and the reference of each."""

from typing import NamedTuple

from glasshead.models.interpolation import Interpolation
from glasshead.models.stages import Architecture
from glasshead.training.phases import Strategy

REPLICATES = 3  # the seeds of each recipe: the run's own and those after it


class Recipe(NamedTuple):
    """What is compared; all recipes share everything else."""

    architecture: Architecture
    strategy: Strategy
    interpolation: Interpolation

    def __str__(self) -> str:
        return f"{self.architecture}_{self.strategy}_{self.interpolation}"


class Variant(NamedTuple):
    """One training of a recipe; the replicate is added to the run's seed."""

    architecture: Architecture
    strategy: Strategy
    interpolation: Interpolation
    replicate: int


STRATEGIES: dict[Architecture, tuple[Strategy, ...]] = {
    "resnet18": ("frozen", "last_3", "last_4", "full", "two_phase"),
    "resnet50": ("frozen", "full", "two_phase"),
}
REFERENCE = Recipe("resnet18", "two_phase", "bilinear")
STUDIED: tuple[Interpolation, ...] = ("bilinear", "bicubic", "none")

RECIPES = [
    *(
        Recipe(architecture, strategy, REFERENCE.interpolation)
        for architecture, strategies in STRATEGIES.items()
        for strategy in strategies
    ),
    *(
        REFERENCE._replace(interpolation=name)
        for name in STUDIED
        if name != REFERENCE.interpolation
    ),
]
VARIANTS = [Variant(*recipe, replicate) for recipe in RECIPES for replicate in range(REPLICATES)]


def reference_of(recipe: Recipe) -> Recipe | None:
    """Return the same strategy on the reference's network, or for a recipe on that network, the reference."""
    if recipe.architecture != REFERENCE.architecture:
        return recipe._replace(architecture=REFERENCE.architecture)
    return REFERENCE if recipe != REFERENCE else None
