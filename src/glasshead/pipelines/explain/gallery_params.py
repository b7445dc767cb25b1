"""Parameters of the galleries of `explain`."""

from typing import Annotated

from pydantic import AfterValidator, Field

Classes = Annotated[tuple[str, ...], Field(min_length=1)]


def _check_disjoint(sides: tuple[Classes, Classes]) -> tuple[Classes, Classes]:
    both = sorted(set(sides[0]) & set(sides[1]))
    if both:
        raise ValueError(f"{', '.join(both)} cannot stand on both sides of a view")
    return sides


View = Annotated[tuple[Classes, Classes], AfterValidator(_check_disjoint)]
Views = dict[str, View]  # name to the classes of either side

RIGID = ("airplane", "automobile", "ship", "truck")
ORGANIC = ("bird", "cat", "deer", "dog", "frog", "horse")
VIEWS: Views = {
    "rigid against organic": (RIGID, ORGANIC),
    "cat and dog": (("cat",), ("dog",)),
    "plane and bird": (("airplane",), ("bird",)),
}
