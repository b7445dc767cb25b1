"""Parameters of `ensemble`."""

from pydantic import BaseModel, Field

from glasshead.device import Device


class EnsembleParams(BaseModel, extra="forbid", frozen=True):
    """The calibrated classifiers that are averaged, by name, and where they compute."""

    members: tuple[str, ...] = Field(default=("cnn", "transfer"), min_length=2)
    device: Device = "auto"
