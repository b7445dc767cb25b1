"""Which explanation to believe: what the evidence says of each method."""

from collections.abc import Iterable, Mapping
from typing import Literal

from glasshead.explainers.evidence import Measure
from glasshead.explainers.randomisation import randomisation_verdict

Standing = Literal["passes", "unresolved", "not checked", "fails"]
Evidence = Mapping[str, Mapping[str, Measure]]  # of each method, each measure

STANDINGS: tuple[Standing, ...] = ("passes", "unresolved", "not checked", "fails")  # best first


def standing(name: str, evidence: Evidence) -> Standing:
    """Return how the method did in the parameter-randomisation check."""
    measures = evidence.get(name, {})
    if "randomisation" not in measures:
        return "not checked"
    return randomisation_verdict(measures["randomisation"])


def best_methods(names: Iterable[str], evidence: Evidence, most: int) -> list[str]:
    """Return up to `most` of `names`, best first: of those of the best standing, the highest insertion AUC.

    A method without an insertion AUC comes after those that have one; of two equally good the first in `names`.
    """
    ranked = sorted(names, key=lambda name: (_rank(name, evidence), -insertion(name, evidence)))
    return [name for name in ranked if _rank(name, evidence) == _rank(ranked[0], evidence)][:most]


def insertion(name: str, evidence: Evidence) -> float:
    """Return the method's insertion AUC, minus infinity where it is unknown."""
    measure = evidence.get(name, {}).get("insertion_auc")
    return float("-inf") if measure is None or measure["value"] is None else measure["value"]


def _rank(name: str, evidence: Evidence) -> int:
    return STANDINGS.index(standing(name, evidence))
