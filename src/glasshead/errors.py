"""Errors that a user can cause. Each says what is wrong, where, and what to do. Any other exception is a bug."""

import re
from collections.abc import Iterator

from pydantic import ValidationError


class GlassheadError(Exception):
    """Base of all errors that the terminal shows as one message instead of a stack trace."""


class ParameterError(GlassheadError):
    """A parameter is unknown, out of range or of the wrong type."""


class CatalogError(GlassheadError):
    """An entry of the data catalog has a setting that this project does not know."""


class SourceError(GlassheadError):
    """An image source cannot be read as a whole: missing folder, empty set, too many bad files."""


class ImageError(GlassheadError):
    """One image cannot be used; ingest lists it in the quarantine table."""


class TaxonomyError(GlassheadError):
    """A taxonomy is unknown, malformed, or does not cover the classes of the data."""


class SplitError(GlassheadError):
    """A split lacks what a later stage needs, such as a class."""


class BackboneError(GlassheadError):
    """A pretrained backbone, of CLIP or another kind, cannot be found or loaded."""


class ModelError(GlassheadError):
    """A classifier from outside, or the table of its outputs, cannot be read or used."""


class EmbeddingError(GlassheadError):
    """Embeddings are missing, damaged, or not finite."""


class ArtifactError(GlassheadError):
    """A file this project wrote is missing, damaged, or not of the expected format."""


class TrainingError(GlassheadError):
    """Training diverged: a loss is not a finite number."""


class CalibrationError(GlassheadError):
    """Temperature scaling did not converge or would make the calibration loss worse."""


class ExplanationError(GlassheadError):
    """An explanation method does not apply to the classifier, images or targets, or needs more memory than there is."""


class ExportError(GlassheadError):
    """A classifier cannot be exported for another runtime."""


class GateError(GlassheadError):
    """A result is below the minimum set in the parameters. The error is raised after everything was saved."""


def plain_validation(message: str) -> str:
    """Return a message from Pydantic without the lines that point to its website."""
    lines = message.splitlines()
    return "\n".join(line for line in lines if "For further information visit" not in line)


def wrong_values(error: ValidationError, block: str) -> Iterator[str]:
    """Yield a line for each parameter of `block` that Pydantic refuses: its name, its value, and what is allowed."""
    wanted: dict[str, list[str]] = {}
    values: dict[str, object] = {}
    for refusal in error.errors(include_url=False):
        # Pydantic's location also names types, such as literal['auto'] of a union; they are not part of the name.
        names = [str(name) for name in refusal["loc"] if not _is_type(str(name))]
        path = ".".join([block, *names])
        if refusal["type"] == "extra_forbidden":
            yield f"There is no parameter {path}. Correct its name or remove it."
        elif refusal["type"] == "value_error":  # from our validators, as a complete message
            yield str(refusal["ctx"]["error"])
        elif refusal["type"] == "missing":
            yield f"{path} is missing. Set it."
        else:
            values[path] = refusal["input"]
            allowed = re.sub(r"^Input (should be|is not) | for <class .*>$", "", refusal["msg"])
            wanted.setdefault(path, []).append(allowed)
    for path, options in wanted.items():
        yield f"{path} is {values[path]!r}, but should be {', or '.join(options)}."


def _is_type(name: str) -> bool:
    return "[" in name or name.startswith("constrained-") or name in ("bool", "float", "int", "str")
