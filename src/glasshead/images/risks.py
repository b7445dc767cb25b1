"""Risks: yes/no labels that an image has because of its class, or because of an attribute's value."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field, model_validator

from glasshead.calibration.table import LABEL, class_columns
from glasshead.errors import ParameterError, SplitError
from glasshead.images.table import ATTRIBUTE


class Risk(BaseModel, extra="forbid", frozen=True):
    """A named risk that the images of some `classes` have, or those with one of `values` in the attribute `column`.

    As a parameter, the text "automobile+truck" stands for the risk of that name with these two classes.
    """

    name: str = Field(min_length=1)
    classes: tuple[str, ...] = ()
    column: str | None = None
    values: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, raw: Any) -> Any:
        return {"name": raw, "classes": raw.split("+")} if isinstance(raw, str) else raw

    @model_validator(mode="after")
    def _defined_once(self) -> Self:
        if bool(self.classes) == bool(self.column and self.values):
            raise ValueError(
                f"risk.risks: {self.name!r} needs either `classes`, or `column` and `values`."
            )
        if "/" in self.name:
            raise ValueError(f"risk.risks: the name {self.name!r} must not contain '/'.")
        return self


def add_risk_labels(
    samples: pd.DataFrame, risks: Sequence[Risk], classes: tuple[str, ...]
) -> pd.DataFrame:
    """Return image_id, split, label, content_hash, and a column `label/<risk>` for each risk: 1 with it, 0 without.

    Raises ParameterError if a risk names a class, a column or a value that the data does not have.
    """
    targets = {LABEL + risk.name: _has(samples, risk, classes) for risk in risks}
    identity = samples[["image_id", "split", "label", "content_hash"]]
    return identity.assign(**targets)


def check_both_sides(targets: pd.DataFrame, risks: Sequence[Risk]) -> None:
    """Raise SplitError if no train row has a risk, or all have it: then there is nothing to learn."""
    train = targets[targets["split"] == "train"]
    for risk in risks:
        count = int(train[LABEL + risk.name].sum())
        if count in (0, len(train)):
            how_many = "None" if count == 0 else "All"
            raise SplitError(
                f"{how_many} of the {len(train)} train images have the risk {risk.name!r} ({_definition(risk)}). The "
                "risk auditor learns from images with the risk and images without it. Change risk.risks, or add images."
            )


def _has(samples: pd.DataFrame, risk: Risk, classes: tuple[str, ...]) -> np.ndarray:
    if risk.column is None:
        _refuse_unknown(risk, "class", risk.classes, classes)
        return samples["label"].isin(risk.classes).to_numpy(np.int64)
    known = class_columns(samples, ATTRIBUTE)
    _refuse_unknown(risk, "column", (risk.column,), known)
    column = samples[ATTRIBUTE + risk.column]
    _refuse_unknown(risk, f"value of {risk.column}", risk.values, sorted(column.dropna().unique()))
    return column.isin(risk.values).to_numpy(np.int64)


def _refuse_unknown(risk: Risk, kind: str, named: Sequence[str], known: Sequence[str]) -> None:
    if unknown := [name for name in named if name not in set(known)]:
        raise ParameterError(
            f"risk.risks: {risk.name!r} names the {kind} {unknown[0]!r}, which the data does not have. Known: "
            f"{', '.join(sorted(known)) or 'none'}."
        )


def _definition(risk: Risk) -> str:
    if risk.column is None:
        return f"class {' or '.join(risk.classes)}"
    return f"{risk.column} {' or '.join(risk.values)}"
