"""The commands `run` and `predict`. Kedro finds `cli` here, so `kedro run` and `glasshead run` are the same command."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from kedro.config import MissingConfigException
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import pipelines
from kedro.validation import ParameterValidationError
from pydantic import ValidationError

from glasshead.errors import GlassheadError, ParameterError, wrong_values
from glasshead.pipeline_registry import DEFAULT
from glasshead.serving.command import Command, predict


class Run(Command):
    """Kedro's `run`, as a command that shows errors which the user can correct as one message."""

    def invoke(self, ctx: click.Context) -> None:
        """Run the pipeline. Raises ClickException for a GlassheadError anywhere in the chain of causes.

        The default is run by its own name, as Kedro imports the nodes of all pipelines for `__default__`.
        """
        if not (ctx.params["pipeline"] or ctx.params["pipelines"]) and DEFAULT in pipelines:
            ctx.params["pipelines"] = [DEFAULT]
        logging.getLogger("kedro.pipeline.node").addFilter(_is_no_error)
        try:
            with _refusals() as refused:
                super().invoke(ctx)
        except ParameterValidationError:
            raise click.ClickException("\n".join(refused)) from None
        except Exception as error:
            if (cause := user_error(error)) is None:
                raise
            raise click.ClickException(str(cause)) from None


def user_error(error: BaseException) -> GlassheadError | None:
    """Return the error that the user can correct, if `error` is one or was caused by one."""
    for cause in _causes(error):
        if isinstance(cause, GlassheadError):
            return cause
        if isinstance(cause, MissingConfigException):
            return ParameterError(f"There is no environment with this name: {cause}")
        if isinstance(cause, ValueError) and str(cause).startswith("Failed to find the pipeline"):
            return ParameterError(str(cause))
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _is_no_error(record: logging.LogRecord) -> bool:
    # Kedro logs an error and raises it too; we show it once, at the end.
    return record.levelno < logging.ERROR


@contextmanager
def _refusals() -> Iterator[list[str]]:
    """Gather a line for each wrong parameter from what Kedro's validator logs; its exception holds only text."""
    lines: list[str] = []

    def gather(record: logging.LogRecord) -> bool:
        if _is_no_error(record):
            return True
        message = record.getMessage()
        errors = (error for error in _causes(sys.exception()) if isinstance(error, ValidationError))
        error = next(errors, None)
        lines.extend(wrong_values(error, message.split("'")[1]) if error else [message])
        return False

    validator = logging.getLogger("kedro.validation.parameter_validator")
    validator.addFilter(gather)
    try:
        yield lines
    finally:
        validator.removeFilter(gather)


@click.group(name="glasshead")
def cli() -> None:
    """Image classifiers you can see through."""


cli.add_command(
    Run("run", params=kedro_run.params, callback=kedro_run.callback, help=kedro_run.help)
)
cli.add_command(predict)
