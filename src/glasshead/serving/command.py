"""`glasshead predict`: options in, predictions on stdout. Neither Kedro nor MLflow is imported, and torch late."""

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
    """A command in which an error that the user can mend is one message, and Ctrl-C exits with 130."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run; raises ClickException for a GlassheadError."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None
        except GlassheadError as error:
            raise click.ClickException(str(error)) from error


@click.command("predict", cls=Command)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…")
@click.option("--classifier", "name", default="heads", show_default=True, metavar="NAME",
              help="One in data/06_models, by name, or the folder of one.")  # fmt: skip
@click.option("--explain", metavar="METHOD",
              help="Explain each prediction by a method such as integrated_gradients, as a PNG.")  # fmt: skip
@click.option("--explanations", default="explanations", show_default=True, metavar="FOLDER",
              type=click.Path(file_okay=False), help="Where explanations go.")  # fmt: skip
@click.option("--top", default=3, show_default=True, type=click.IntRange(min=1),
              help="How many classes to show.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for programs.")
@click.option("--csv", "table", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
              help="Write a table with all probabilities instead.")  # fmt: skip
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
    """Say what is in each IMAGE: a file, a folder with all that is in it, or a quoted glob.

    A line an image: its class with the calibrated confidence, and whether the classifier abstains, as
    calibrate.target_error demands. An image that cannot be used has the reason on its line, and the command then
    exits with 3; with 1 where it could not begin, 2 for a wrong option, 130 after Ctrl-C.
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
    """Return the folder of the Classifier `name`, itself a folder or one of the project's that we are in."""
    if (Path(name) / "classifier.json").is_file():
        return Path(name)
    root = _project()
    there = sorted(path.parts[-3] for path in root.glob(f"{MODELS}/*/calibrated/classifier.json"))
    if name in there:
        return root / MODELS / name / "calibrated"
    known = f"there are: {', '.join(there)}" if there else "there is none yet"
    raise ArtifactError(
        f"There is no Classifier {name!r} in {MODELS}; {known}. Run its pipeline first (`kedro run` for heads), or "
        "name the folder of one."
    )


def _project() -> Path:
    """Return the nearest of the working directory and those above it that has classifiers, else the first."""
    here = Path.cwd()
    return next((root for root in (here, *here.parents) if (root / MODELS).is_dir()), here)


def _warn_of(method: str, name: str) -> None:
    """Say so where the method's maps do not depend on the classifier's weights, by the last run of `explain`."""
    from glasshead.explainers.randomisation import sanity_check

    measured = _project() / REPORTING / name / "explanations.json"
    if measured.is_file() and sanity_check(method, json.loads(measured.read_text())) == "fails":
        click.echo(
            f"{method} fails the randomisation check for {name}: do not believe it.", err=True
        )


@contextmanager
def _writing(
    classifier: "Classifier", table: Path | None, as_json: bool, top: int, explained: bool
) -> Iterator[Callable[["Prediction"], None]]:
    """Give a function that writes a prediction: to stdout, or to `table`, which appears when all is written."""
    from glasshead.serving.lines import csv_header, csv_line, json_line, text_line

    if table is None:
        line = json_line if as_json else text_line
        # Bytes, as what is written shall not depend on the locale.
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
    """Show how far it is on stderr; not where results run over the same terminal, or nobody looks."""
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
