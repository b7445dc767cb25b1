"""`glasshead predict`: what goes to stdout, what to stderr, what the exit code says, and what is not imported."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator
from PIL import Image

import glasshead
from glasshead.__main__ import main
from glasshead.models.classifier import Classifier
from glasshead.serving import lines

PACKAGE = Path(glasshead.__file__).parent
SAMPLES = PACKAGE / "assets" / "samples"
SCHEMA = json.loads((PACKAGE / "assets" / "prediction.schema.json").read_text())


@pytest.fixture
def project(tmp_path: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the classifier `heads`, and a working directory below it that holds images."""
    classifier.save(tmp_path / "data/06_models/heads/calibrated")
    images = tmp_path / "images"
    images.mkdir()
    for name in ("cat.png", "dog.png"):
        (images / name).write_bytes((SAMPLES / name).read_bytes())
    monkeypatch.chdir(images)
    return tmp_path


def predict(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["predict", *arguments])


def test_json_lines_validate_and_repeat(project):
    result = predict(str(SAMPLES), "--json")
    assert result.exit_code == 0, result.stderr
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [Path(record["image"]).stem for record in records] == sorted(
        path.stem for path in SAMPLES.iterdir()
    )
    for record in records:
        Draft202012Validator(SCHEMA).validate(record)
    assert predict(str(SAMPLES), "--json").stdout == result.stdout


def test_a_bad_file_has_its_line_and_the_exit_code_says_so(project):
    Path("bad.png").write_text("no image")
    result = predict("cat.png", "bad.png", "gone.png", "dog.png")
    assert result.exit_code == 3
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert [line[0] for line in lines] == ["cat.png", "bad.png", "gone.png", "dog.png"]
    assert lines[1][1].startswith("cannot be used: not a readable image")
    assert lines[2][1].startswith("cannot be used: cannot be read: No such file")
    assert result.stderr.splitlines()[-1] == "2 of 4 images cannot be used."


def test_a_table_is_written_instead(project):
    result = predict("*.png", "--csv", "out.csv")
    assert (result.exit_code, result.stdout) == (0, "")
    table = pd.read_csv("out.csv")
    assert list(table["image"]) == ["cat.png", "dog.png"]
    assert table.filter(like="probability/").sum(axis=1).tolist() == pytest.approx([1, 1], abs=1e-5)


def test_an_explanation_is_named_and_a_method_that_failed_is_warned_of(project):
    evidence = {"saliency": {"randomisation": {"value": 0.9, "low": 0.8, "high": 1.0}}}
    path = project / "data/08_reporting/heads/explanations.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(evidence))
    result = predict("cat.png", "--json", "--explain", "saliency", "--explanations", "why")
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    Draft202012Validator(SCHEMA).validate(record)
    assert Path(record["explanation"]).parent == Path("why")
    assert Path(record["explanation"]).is_file()
    assert "Do not trust saliency for heads" in result.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--classifier", "cnn"], 1, "no Classifier 'cnn' in data/06_models, which holds heads."),
        (["--explain", "magic"], 1, "there is no such method. Choose one of saliency"),
        (["--csv", "."], 2, "is a directory"),
        (["--json", "--csv", "x.csv"], 2, "exclude each other"),
        (["--top", "0"], 2, "0 is not in the range"),
    ],
)
def test_what_a_user_can_mend_is_one_message(project, options, code, message):
    result = predict("cat.png", *options)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_classifier_may_be_a_folder(project, folder):
    result = predict("cat.png", "--json", "--classifier", str(folder))
    assert result.stdout == predict("cat.png", "--json").stdout


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Take SIGINT as a terminal's Ctrl-C is taken; a process that a script started in the background ignores it."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_leaves_nothing_half_written(project, monkeypatch):
    Path("out.csv").write_text("old")
    write, written = lines.csv_line, []

    def interrupted(*arguments):
        written.append(write(*arguments))
        if len(written) == 2:
            signal.raise_signal(signal.SIGINT)
        return written[-1]

    monkeypatch.setattr(lines, "csv_line", interrupted)
    result = predict("cat.png", "dog.png", "--csv", "out.csv")
    assert result.exit_code == 130
    assert Path("out.csv").read_text() == "old"
    assert sorted(path.name for path in Path().iterdir()) == ["cat.png", "dog.png", "out.csv"]


def test_what_takes_seconds_is_not_imported_and_only_the_result_is_on_stdout(folder, tmp_path):
    with Image.open(SAMPLES / "cat.png") as image:
        image.resize((500, 375)).save(tmp_path / "resized.png")
    paths = [str(SAMPLES), str(tmp_path / "resized.png")]
    code = f"""
import sys
from glasshead.__main__ import main
try:
    main(["predict", *{paths}, "--json", "--classifier", {str(folder)!r}])
except SystemExit as end:
    assert not end.code
print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 11
    modules = done.stderr.splitlines()[-1]
    heavy = {
        *("captum", "fastapi", "kedro", "kedro_mlflow", "matplotlib", "mlflow", "numba", "pandas"),
        *("pyarrow", "rich", "scipy", "shap", "sklearn", "sympy", "timm", "torch._dynamo"),
        *("torch.distributed.tensor", "torchvision", "transformers"),
    }
    assert not heavy & set(modules.split())
    assert "glasshead.serving.predictor" in modules.split()
    assert "glasshead.pipelines" not in modules
