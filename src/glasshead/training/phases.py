"""Phases of a training: which parameters are trained, for how long and how fast; the others are frozen."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from glasshead.errors import ParameterError


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters, by their names in `model.named_parameters()`, and the factor on the learning rate that they share."""

    names: tuple[str, ...]
    rate: float = 1.0


@dataclass(frozen=True)
class Phase:
    """A stretch of `epochs` that trains the parameters in `groups`, with a schedule and an optimiser of its own."""

    name: str
    epochs: int
    groups: tuple[ParameterGroup, ...]

    @property
    def names(self) -> list[str]:
        """The names of all parameters that are trained."""
        return [name for group in self.groups for name in group.names]


def one_phase(model: nn.Module, epochs: int) -> Phase:
    """Return the phase that trains every parameter that is not frozen already."""
    names = (name for name, value in model.named_parameters() if value.requires_grad)
    return Phase("all", epochs, (ParameterGroup(tuple(names)),))


def check_phases(model: nn.Module, phases: Sequence[Phase]) -> None:
    """Raise ParameterError for nothing to train, names that are unknown or repeated, and bad numbers."""
    if not phases:
        raise ParameterError("There is no phase to train: give at least one.")
    known = {name for name, _ in model.named_parameters()}
    for phase in phases:
        where = f"Phase {phase.name!r}"
        if phase.epochs < 1 or any(group.rate <= 0 for group in phase.groups):
            raise ParameterError(f"{where}: `epochs` must be at least 1 and rates above 0.")
        if not phase.names:
            raise ParameterError(f"{where} trains no parameter: name some in its groups.")
        if unknown := sorted(set(phase.names) - known):
            raise ParameterError(
                f"{where} names parameters that the model lacks: {', '.join(unknown[:3])}. It has "
                f"{', '.join(sorted(known)[:3])}, …"
            )
        if repeated := [name for name, count in Counter(phase.names).items() if count > 1]:
            raise ParameterError(f"{where} names {repeated[0]} more than once.")


@contextmanager
def frozen_as_before(model: nn.Module) -> Iterator[None]:
    """Give every parameter back the `requires_grad` that it had when the block began."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        yield
    finally:
        for parameter, requires_grad in before:
            parameter.requires_grad_(requires_grad)
            parameter.grad = None


def freeze_others(model: nn.Module, phase: Phase) -> None:
    """Let gradients flow to the parameters of `phase` alone."""
    trained = set(phase.names)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
        parameter.grad = None


def set_training_mode(model: nn.Module) -> None:
    """Put `model` into training mode, but for batch norms whose parameters are all frozen: their statistics stay."""
    model.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            own = list(module.parameters())
            module.train(not own or any(parameter.requires_grad for parameter in own))
