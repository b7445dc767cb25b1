"""Parameters of `report`."""

from typing import Annotated

from pydantic import BaseModel, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
Megabytes = Annotated[float, Field(ge=4, le=15)]


class ReportParams(BaseModel, extra="forbid", frozen=True):
    """The accuracy that is called right, the size of a report, entries of the model card, classifiers to compare."""

    right_from: Fraction = 0.9
    megabytes: Megabytes = 15
    licence: str = "apache-2.0"
    intended_use: str | None = None
    compare: tuple[str, ...] = Field(default=("heads", "cnn", "transfer", "ensemble"), min_length=1)

    @property
    def most(self) -> int:
        """The largest size of a page in bytes."""
        return int(self.megabytes * 1_000_000)
