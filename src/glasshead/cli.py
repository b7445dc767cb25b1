"""The command line. Kedro finds `cli` here: `kedro run` and `glasshead run` are this module's `run`."""

import logging
from collections.abc import Iterator

import click
from kedro.config import MissingConfigException
from kedro.framework.cli.project import run as kedro_run
from kedro.validation import ParameterValidationError

from glasshead.errors import GlassheadError, ParameterError, plain_validation

INTERRUPTED = 130  # what a shell reports for a command that SIGINT ended


class Run(click.Command):
    """Kedro's `run`, in which an error that the user can mend is one message, and Ctrl-C exits with 130."""

    def invoke(self, ctx: click.Context) -> None:
        """Run; raises ClickException for a GlassheadError anywhere in the chain of causes."""
        for name in ("kedro.pipeline.node", "kedro.validation.parameter_validator"):
            logging.getLogger(name).addFilter(_is_no_error)
        try:
            super().invoke(ctx)
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None
        except Exception as error:
            if (cause := user_error(error)) is None:
                raise
            raise click.ClickException(str(cause)) from None


def user_error(error: BaseException) -> GlassheadError | None:
    """Return the error that the user can mend, if `error` is one or was caused by one."""
    for cause in _causes(error):
        if isinstance(cause, GlassheadError):
            return cause
        if isinstance(cause, ParameterValidationError):
            return ParameterError(plain_validation(str(cause)))
        if isinstance(cause, MissingConfigException):
            return ParameterError(f"There is no environment of that name: {cause}")
        if isinstance(cause, ValueError) and str(cause).startswith("Failed to find the pipeline"):
            return ParameterError(str(cause))
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _is_no_error(record: logging.LogRecord) -> bool:
    # What these loggers report as an error is raised as well, and is shown once, at the end.
    return record.levelno < logging.ERROR


@click.group(name="glasshead")
def cli() -> None:
    """Image classifiers you can see through."""


cli.add_command(
    Run("run", params=kedro_run.params, callback=kedro_run.callback, help=kedro_run.help)
)
