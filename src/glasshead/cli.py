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

RUNNER = "glasshead.incremental.IncrementalRunner"


class Run(Command):
    """Kedro's `run`; an error that the user can correct is shown as one message, without a stack trace."""

    def invoke(self, ctx: click.Context) -> None:
        """Run the pipeline. Raises ClickException if the error, or one of its causes, is a GlassheadError.

        Without --pipelines, `heads` is run by its name: for `__default__`, Kedro imports the nodes of all pipelines.
        """
        if not (ctx.params["pipeline"] or ctx.params["pipelines"]) and DEFAULT in pipelines:
            ctx.params["pipelines"] = [DEFAULT]
        ctx.params["runner"] = ctx.params["runner"] or RUNNER
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
    """Return the error that the user can correct: `error` itself or one of its causes; None if there is none."""
    for cause in _causes(error):
        if isinstance(cause, GlassheadError):
            return cause
        if isinstance(cause, MissingConfigException):
            return ParameterError(
                f"There is no environment with this name: {cause}. Set --env to a folder of conf/."
            )
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
    """Yield a list that fills with a line for each wrong parameter, taken from the log of Kedro's validator.

    The validator's own exception holds only text.
    """
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
