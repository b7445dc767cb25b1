"""Phases of a training: which parameters move, for how many epochs, at what share of the learning rate.

Built from names alone, so that any network whose parameters are sorted into stages can be fine-tuned. Freezing and then
unfreezing with a lower rate for the lower layers: Howard and Ruder 2018, arXiv:1801.06146; how far the last stages
alone carry: Yosinski et al. 2014, arXiv:1411.1792.
"""

from collections.abc import Mapping
from itertools import chain
from typing import Literal, NamedTuple

from pydantic import BaseModel, Field

from glasshead.errors import ParameterError

Strategy = Literal["frozen", "last_1", "last_2", "last_3", "last_4", "full", "two_phase"]


class ParameterGroup(NamedTuple):
    """Parameters by their names in `model.named_parameters()`, and the factor on the learning rate for them."""

    names: tuple[str, ...]
    rate: float


class Phase(NamedTuple):
    """Some epochs in which the parameters of `groups` are trained; all others are frozen."""

    name: str
    epochs: int
    groups: tuple[ParameterGroup, ...]


class StrategyParams(BaseModel, extra="forbid", frozen=True):
    """How a pretrained network is fine-tuned.

    `strategy`: frozen (the head alone), last_<n> (head and last n stages), full (everything), two_phase (the head
    first, then everything). `head_share` is the share of the epochs that two_phase gives to the head alone.
    `backbone_rate` is the factor on the learning rate for whatever of the backbone is trained; the head's is 1.
    """

    strategy: Strategy = "two_phase"
    head_share: float = Field(default=0.3, gt=0, lt=1)
    backbone_rate: float = Field(default=0.1, gt=0, le=1)


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
        ParameterError: last_<n> of a backbone of fewer stages, or two_phase in fewer than two epochs.
    """
    if params.strategy == "two_phase":
        if epochs < 2:
            raise ParameterError(
                f"The strategy two_phase takes two epochs or more, not {epochs}: one phase trains the head, the next "
                "everything. Raise the epochs or choose another strategy."
            )
        first = min(max(1, round(params.head_share * epochs)), epochs - 1)
        spans = [("head", first, 0), ("full", epochs - first, len(stages))]
    else:
        spans = [(str(params.strategy), epochs, _unfrozen(params.strategy, stages))]
    parts = list(stages.values())
    return tuple(
        Phase(name, span, _groups(head, parts[len(parts) - count :], params.backbone_rate))
        for name, span, count in spans
    )


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
    head: tuple[str, ...], parts: list[tuple[str, ...]], backbone_rate: float
) -> tuple[ParameterGroup, ...]:
    backbone = tuple(chain.from_iterable(parts))
    lower = (ParameterGroup(backbone, backbone_rate),) if backbone else ()
    return (*lower, ParameterGroup(head, 1.0))
