"""Parameters of `external`."""

from pydantic import BaseModel, PositiveInt

from glasshead.device import Device
from glasshead.models.contract import ContractParams
from glasshead.models.outside import ModelParams


class ExternalParams(BaseModel, extra="forbid", frozen=True):
    """Where the classifier comes from, and what its file does not say.

    `preflight_images` are the labelled images, none of them of the test split, on which the contract is tried.
    """

    model: ModelParams = ModelParams()
    contract: ContractParams = ContractParams()
    preflight_images: PositiveInt = 200
    device: Device = "auto"
