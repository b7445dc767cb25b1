"""Phases of a training: which parameters are trained, for how long and how fast; the others are frozen.

Phases hold only names of parameters, so any network with stages can be fine-tuned. Gradual unfreezing with lower rates
for lower layers: Howard and Ruder 2018, arXiv:1801.06146; training only the last stages: Yosinski et al. 2014,
arXiv:1411.1792.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from glasshead.errors import ParameterError

Strategy = Literal["frozen", "last_1", "last_2", "last_3", "last_4", "full", "two_phase"]


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters, by their names in `model.named_parameters()`, and the factor on their learning rate."""

    names: tuple[str, ...]
    rate: float = 1.0


@dataclass(frozen=True)
class Phase:
    """`epochs` epochs that train the parameters in `groups`, with their own schedule and optimiser."""

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


@contextmanager
def frozen_as_before(model: nn.Module) -> Iterator[None]:
    """Restore `requires_grad` of every parameter when the block ends."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        yield
    finally:
        for parameter, requires_grad in before:
            parameter.requires_grad_(requires_grad)
            parameter.grad = None


def freeze_others(model: nn.Module, phase: Phase) -> None:
    """Let gradients flow only to the parameters of `phase`."""
    trained = set(phase.names)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
        parameter.grad = None


def set_training_mode(model: nn.Module) -> None:
    """Put `model` into training mode, except modules whose parameters are all frozen.

    Their batch norms keep their statistics and their dropout is off, so that trained layers see the features of the
    final network (as in Keras' guide to transfer learning and Lightning's `freeze`).
    """
    model.train()
    for module in model.modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()


class StrategyParams(BaseModel, extra="forbid", frozen=True):
    """How a pretrained network is fine-tuned.

    `strategy`: frozen (the head alone), last_<n> (head and last n stages), full (everything), two_phase (the head
    first, then everything). `head_fraction` is the fraction of the epochs that two_phase gives to the head alone.
    `backbone_rate` is the factor on the learning rate of trained backbone layers; the head's is 1. With `probe_first`,
    the head begins as a linear probe of the pretrained features: Kumar et al. 2022, arXiv:2202.10054. With
    `freeze_norms`, batch norms keep their statistics, scales and shifts, so that small batches do not blur them.
    `mixing` is the fraction of the trained weights in the final ones, the rest being the weights before training, with
    the probe as head: Wortsman et al. 2022, arXiv:2109.01903.
    """

    strategy: Strategy = "two_phase"
    head_fraction: float = Field(default=0.3, gt=0, lt=1)
    backbone_rate: float = Field(default=0.1, gt=0, le=1)
    probe_first: bool = False
    freeze_norms: bool = False
    mixing: float = Field(default=1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _mixes_with_a_probe(self) -> Self:
        if self.mixing < 1 and not self.probe_first:
            raise ValueError(
                f"A strategy with a mixing of {self.mixing:g} needs a head that is good before training. Set "
                "probe_first to true, or mixing to 1."
            )
        return self


def build_phases(
    params: StrategyParams,
    epochs: int,
    stages: Mapping[str, tuple[str, ...]],
    head: tuple[str, ...],
) -> tuple[Phase, ...]:
    """Return the phases of `params.strategy`; their epochs sum to `epochs`.

    Args:
        params: the strategy and its rates.
        epochs: of all phases together, 1 or more.
        stages: parameter names by stage of the backbone, from the input to the output.
        head: parameter names of the head.

    Raises:
        ParameterError: last_<n> for a backbone with fewer stages, or two_phase with fewer than two epochs.
    """
    if params.strategy == "two_phase":
        if epochs < 2:
            raise ParameterError(
                f"The strategy two_phase needs two epochs or more, not {epochs}: first the head is trained, then all. "
                "Raise the epochs or choose another strategy."
            )
        first = min(max(1, round(params.head_fraction * epochs)), epochs - 1)
        spans = [("head", first, 0), ("full", epochs - first, len(stages))]
    else:
        spans = [(str(params.strategy), epochs, _unfrozen(params.strategy, stages))]
    stage_names = list(stages.values())
    return tuple(
        Phase(
            name, span, _groups(head, stage_names[len(stage_names) - count :], params.backbone_rate)
        )
        for name, span, count in spans
    )


def without_batch_norms(
    model: nn.Module, stages: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Return the parameter names of `stages` but for those of batch norms."""
    norms = tuple(
        f"{name}." for name, module in model.named_modules() if isinstance(module, _BatchNorm)
    )
    return {
        stage: tuple(name for name in names if not name.startswith(norms))
        for stage, names in stages.items()
    }


def _unfrozen(strategy: Strategy, stages: Mapping[str, tuple[str, ...]]) -> int:
    """Return how many of the last stages are trained."""
    if strategy == "frozen":
        return 0
    if strategy == "full":
        return len(stages)
    count = int(strategy.removeprefix("last_"))
    if count > len(stages):
        raise ParameterError(
            f"The strategy {strategy} trains the last {count} stages, but this backbone has {len(stages)}: "
            f"{', '.join(stages)}. Choose fewer, or full."
        )
    return count


def _groups(
    head: tuple[str, ...], stages: list[tuple[str, ...]], backbone_rate: float
) -> tuple[ParameterGroup, ...]:
    backbone = tuple(chain.from_iterable(stages))
    lower = (ParameterGroup(backbone, backbone_rate),) if backbone else ()
    return (*lower, ParameterGroup(head, 1.0))
