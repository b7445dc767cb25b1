"""What all kinds of classifiers from outside share: where they come from, what is read of them, and trust in code."""

import os
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, model_validator
from torch import nn

from glasshead.errors import BackboneError, ModelError
from glasshead.models.backbone import BackboneParams, check_backbone
from glasshead.models.classifier import Access

Kind = Literal["network", "onnx", "program", "table", "python"]
MOST_BYTES = 2**31  # of a file that is read as a whole; protobuf reads no more


class ModelParams(BaseModel, extra="forbid", frozen=True):
    """Where the classifier comes from.

    Attributes:
        kind: network, onnx, program, table or python.
        path: for a network `timm:` or `torchvision:` and an architecture, a folder or a hub id; for python
            `FILE.py:FUNCTION`; else a file.
        weights: a file with the state dict of an architecture of timm or torchvision.
        trusted: whether a program or python file may run its code.
    """

    kind: Kind = "network"
    path: str | None = None
    weights: Path | None = None
    trusted: bool = False

    @model_validator(mode="after")
    def _weights_are_of_a_network(self) -> Self:
        if self.weights is not None and self.kind != "network":
            raise ValueError(
                f"external.model.weights is only for external.model.kind=network, not for {self.kind}. Leave it out."
            )
        return self


class Outside(NamedTuple):
    """A network from outside.

    Attributes:
        network: images as the contract normalises them (b, 3, h, w) → outputs (b, m); None for a table.
        built: JSON values from which `build` makes the same network without its weights.
        read: what the file says of the contract; may hold `processor`.
        access: what can be computed: `table`, `forward` or `gradient`.
        digest: the SHA-256 of its file or weights.
    """

    network: nn.Module | None
    built: dict[str, Any]
    read: dict[str, Any]
    access: Access
    digest: str


def check_model(model: ModelParams) -> str:
    """Return the path of `model`; ModelError, as `load_outside`, if it can be seen without reading weights or code."""
    if model.path is None:
        raise ModelError(
            "external.model.path is not set. Name the classifier to audit: see docs/how-to/audit-a-classifier.md."
        )
    if model.kind == "network":
        try:
            check_backbone(BackboneParams(name=model.path, weights=model.weights))
        except BackboneError as error:
            raise ModelError(f"external.model.path: {error}") from error
    elif model.kind == "python":
        file, colon, _ = model.path.rpartition(":")
        if not colon:
            raise ModelError(
                f"external.model.path is {model.path}, but should be FILE.py:FUNCTION."
            )
        regular_file(file)
    else:
        regular_file(model.path)
    return model.path


def regular_file(path: str) -> Path:
    """Return the file at `path`; ModelError if there is none, or it is larger than any that is read."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise ModelError(f"external.model.path: there is no file {path}.")
    if file.stat().st_size >= MOST_BYTES:
        raise ModelError(
            f"external.model.path: {path} has {file.stat().st_size / 1e9:.1f} GB, but at most {MOST_BYTES / 1e9:.1f} "
            "can be read."
        )
    return file


def trust(digest: str) -> None:
    """Note that the file with this SHA-256 may run its code on this machine, for this user."""
    file = _trusted_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as noted:
        noted.write(f"{digest}\n")


def require_trust(digest: str, what: str) -> None:
    """Raise ModelError unless the file with this SHA-256 was trusted on this machine before."""
    file = _trusted_file()
    if not file.is_file() or digest not in file.read_text().split():
        raise ModelError(
            f"{what} runs code when it is read, and is not trusted on this machine. If you know where it comes from, "
            "run `kedro run --pipelines=external` with external.model.trusted=true once."
        )


def _trusted_file() -> Path:
    """Return the file that lists the SHA-256 of trusted files, one in each line."""
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder) / "glasshead" / "trusted"
