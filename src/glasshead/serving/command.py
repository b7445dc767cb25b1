"""The command `glasshead predict`. It imports neither Kedro nor MLflow, and torch only after checking its input."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glasshead.errors import ArtifactError, GlassheadError
from glasshead.files import write_atomically
from glasshead.serving.inputs import find_files

if TYPE_CHECKING:  # torch takes seconds to import
    from glasshead.models.classifier import Classifier
    from glasshead.serving.predictor import Prediction

INTERRUPTED = 130  # what a shell reports for a command that SIGINT ended
SOME_FAILED = 3
MODELS = Path("data/06_models")
REPORTING = Path("data/08_reporting")


class Command(click.Command):
    """A command that shows a GlassheadError as one message, and that exits with 130 after Ctrl-C."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a GlassheadError becomes a ClickException."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None
        except GlassheadError as error:
            raise click.ClickException(str(error)) from error


@click.command("predict", cls=Command)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…")
@click.option("--classifier", "name", default="heads", show_default=True, metavar="NAME",
              help="Name of a classifier in data/06_models, or its folder.")  # fmt: skip
@click.option("--explain", metavar="METHOD",
              help="Write a PNG that explains each prediction by METHOD, such as integrated_gradients.")  # fmt: skip
@click.option("--explanations", default="explanations", show_default=True, metavar="FOLDER",
              type=click.Path(file_okay=False), help="The folder of the PNGs.")  # fmt: skip
@click.option("--top", default=3, show_default=True, type=click.IntRange(min=1),
              help="The number of classes to print.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each image.")
@click.option("--csv", "table", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
              help="Write a table with all probabilities to FILE instead.")  # fmt: skip
@click.pass_context
def predict(
    ctx: click.Context,
    images: tuple[str, ...],
    name: str,
    explain: str | None,
    explanations: str,
    top: int,
    as_json: bool,
    table: Path | None,
) -> None:
    """Predict the class of each IMAGE: a file, a folder with its subfolders, or a quoted glob.

    Prints a line for each image: its class with the calibrated confidence, and whether the classifier abstains to meet
    calibrate.target_error. For an image that cannot be used, the line gives the reason, and the command exits with 3.
    It exits with 1 if it cannot start, with 2 for a wrong option, and with 130 after Ctrl-C.
    """
    if as_json and table:
        raise click.UsageError("--json and --csv exclude each other.")
    files = [file for argument in images for file in find_files(argument)]
    folder = _folder(name)  # before torch is imported
    from glasshead.serving.predictor import load

    predictor = load(folder)
    if explain is not None:
        _warn_of(explain, name)
    failed = 0
    with (
        _writing(predictor.classifier, table, as_json, top, explain is not None) as write,
        _bar(len(files), table) as advance,
    ):
        for prediction in predictor.stream(files, explain, explanations):
            write(prediction)
            advance()
            failed += prediction.error is not None
    if failed:
        click.echo(f"{failed} of {len(files)} images cannot be used.", err=True)
        ctx.exit(SOME_FAILED)


def _folder(name: str) -> Path:
    """Return the Classifier's folder: `name` itself, or that of the project's classifier called `name`."""
    if (Path(name) / "classifier.json").is_file():
        return Path(name)
    root = _project()
    names = sorted(path.parts[-3] for path in root.glob(f"{MODELS}/*/calibrated/classifier.json"))
    if name in names:
        return root / MODELS / name / "calibrated"
    raise ArtifactError(
        f"There is no Classifier {name!r} in {MODELS}, which holds {', '.join(names) or 'none yet'}. Run its pipeline "
        "first (`kedro run` for heads), or give the folder of a Classifier."
    )


def _project() -> Path:
    """Return the working directory or its nearest parent with data/06_models; the working directory if none has it."""
    start = Path.cwd()
    return next((root for root in (start, *start.parents) if (root / MODELS).is_dir()), start)


def _warn_of(method: str, name: str) -> None:
    """Warn if the last run of `explain` found that the method's maps do not depend on the classifier's weights."""
    from glasshead.explainers.randomisation import sanity_check

    measured = _project() / REPORTING / name / "explanations.json"
    if measured.is_file() and sanity_check(method, json.loads(measured.read_text())) == "fails":
        click.echo(
            f"Do not trust {method} for {name}: its maps hardly change when weights are randomised.",
            err=True,
        )


@contextmanager
def _writing(
    classifier: "Classifier", table: Path | None, as_json: bool, top: int, explained: bool
) -> Iterator[Callable[["Prediction"], None]]:
    """Yield a function that writes a prediction to stdout, or to `table`, a file that appears once it is complete."""
    from glasshead.serving.lines import csv_header, csv_line, json_line, text_line

    if table is None:
        line = json_line if as_json else text_line
        # The output is bytes, so that it does not depend on the locale.
        yield lambda prediction: click.echo(line(prediction, top, explained).encode())
        return
    with (
        write_atomically(table) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):

        def write(prediction: "Prediction") -> None:
            file.write(csv_line(prediction, classifier) + "\n")

        file.write(csv_header(classifier) + "\n")
        yield write


@contextmanager
def _bar(total: int, table: Path | None) -> Iterator[Callable[[], None]]:
    """Show a progress bar if stderr is a terminal that shows no results; yield a function that advances the bar."""
    if not sys.stderr.isatty() or (table is None and sys.stdout.isatty()):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(
        console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
    ) as progress:
        task = progress.add_task("predict", total=total)
        yield lambda: progress.advance(task)
