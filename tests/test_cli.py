"""What reaches the terminal: one message for what a user can mend, 130 for Ctrl-C, a stack trace for our bugs."""

from pathlib import Path
from typing import Literal, Self

import click
import pytest
from click.testing import CliRunner, Result
from kedro.framework.cli.cli import KedroCLI
from kedro.io import DatasetError
from pydantic import BaseModel, PositiveInt, ValidationError, model_validator

from glasshead.__main__ import main
from glasshead.cli import cli, user_error
from glasshead.errors import ImageError, wrong_values
from glasshead.serving.command import predict


def run(**parameters: str) -> Result:
    values = ",".join(f"preprocess.{name}={value}" for name, value in parameters.items())
    return CliRunner().invoke(cli, ["run", f"--params={values}"])


@pytest.mark.usefixtures("tiny_project")
class TestRun:
    def test_success(self) -> None:
        assert run(fate="finish").exit_code == 0

    def test_a_users_error_is_one_message(self) -> None:
        result = run(fate="gate")
        assert result.exit_code == 1
        assert result.stderr.endswith("Error: accuracy 0.9 is below 0.95: train longer\n")
        assert result.stderr.count("train longer") == 1
        assert "Traceback" not in result.stderr

    def test_a_bug_keeps_its_stack_trace(self) -> None:
        assert isinstance(run(fate="break").exception, ZeroDivisionError)

    @pytest.mark.parametrize(
        ("parameters", "wanted"),
        [
            (
                {"fate": "nonsense"},
                "Error: preprocess.fate is 'nonsense', but should be 'finish', ",
            ),
            (
                {"fate": "finish", "fat": "finish"},
                "Error: There is no parameter preprocess.fat. Correct its name or remove it.\n",
            ),
        ],
    )
    def test_a_mistyped_parameter_is_rejected_before_any_node_runs(
        self, tiny_project: Path, parameters: dict[str, str], wanted: str
    ) -> None:
        result = run(**parameters)
        assert result.exit_code == 1
        assert result.stderr.count(wanted) == 1
        assert "type=" not in result.stderr
        assert not (tiny_project / "data").exists()

    @pytest.mark.parametrize(
        ("parameter", "message"),
        [
            ("preproces.fate=finish", "no parameter 'preproces'. Did you mean preprocess?"),
            ("zebra=1", "no parameter 'zebra'. Known: backbone, fresh, ingest, preprocess, seed."),
            ("seed=abc", "The parameter seed must be a whole number from 0, not 'abc'."),
            ("seed=-1", "not -1"),
            ("seed=1.5", "not 1.5"),
        ],
    )
    def test_a_parameter_outside_the_typed_blocks_is_checked_too(
        self, tiny_project: Path, parameter: str, message: str
    ) -> None:
        result = CliRunner().invoke(cli, ["run", f"--params={parameter}"])
        assert result.exit_code == 1
        assert message in result.stderr
        assert not (tiny_project / "data").exists()

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            ("--pipelines=evaluat", "Failed to find the pipeline named 'evaluat'"),
            ("--env=nowhere", "There is no environment with this name"),
        ],
    )
    def test_an_unknown_pipeline_or_environment_is_one_message(
        self, option: str, message: str
    ) -> None:
        result = CliRunner().invoke(cli, ["run", option])
        assert result.exit_code == 1
        assert message in result.stderr
        assert "Traceback" not in result.stderr

    def test_ctrl_c_exits_with_130(self) -> None:
        assert run(fate="interrupt").exit_code == 130

    def test_kedros_command_line_has_this_run(self, tiny_project: Path) -> None:
        commands = KedroCLI(tiny_project)
        assert commands.get_command(click.Context(commands), "run") is cli.commands["run"]

    def test_kedros_command_line_predicts_too(self, tiny_project: Path) -> None:
        commands = KedroCLI(tiny_project)
        assert commands.get_command(click.Context(commands), "predict") is predict


def test_the_projects_own_command_line_has_what_kedros_has() -> None:
    context = click.Context(main)
    assert set(main.list_commands(context)) == set(cli.commands)
    assert all(main.get_command(context, name) is cli.commands[name] for name in cli.commands)
    assert main.get_command(context, "nothing") is None


class Numbers(BaseModel):
    batch_size: PositiveInt | Literal["auto"] = "auto"
    path: Path | None = None


class Block(BaseModel):
    inner: Numbers = Numbers()
    rate: float

    @model_validator(mode="after")
    def _rate_fits(self) -> Self:
        if self.rate > 1:
            raise ValueError("set block.rate below 1")
        return self


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        (
            {"inner": {"batch_size": -3}, "rate": 0.5},
            ["block.inner.batch_size is -3, but should be greater than 0, or 'auto'."],
        ),
        ({"rate": 3}, ["set block.rate below 1"]),
        ({}, ["block.rate is missing. Set it."]),
        (
            {"inner": {"path": 3}, "rate": 0.5},
            ["block.inner.path is 3, but should be a valid path."],
        ),
        (
            {"rate": "x", "inner": 3},
            [
                "block.inner is 3, but should be a valid dictionary or instance of Numbers.",
                "block.rate is 'x', but should be a valid number, unable to parse string as a number.",
            ],
        ),
    ],
)
def test_wrong_values_are_named_with_what_they_may_be(given: object, lines: list[str]) -> None:
    with pytest.raises(ValidationError) as error:
        Block.model_validate(given)
    assert list(wrong_values(error.value, "block")) == lines


class TestUserError:
    def test_is_found_behind_kedros_own_error(self) -> None:
        error = DatasetError("Failed while loading data")
        error.__cause__ = ImageError("cat.jpg is truncated")
        found = user_error(error)
        assert isinstance(found, ImageError)
        assert str(found) == "cat.jpg is truncated"

    def test_a_bug_met_while_an_error_was_handled_is_a_bug(self) -> None:
        bug = KeyError("q")
        bug.__context__ = ImageError("cat.jpg is truncated")
        bug.__suppress_context__ = True
        assert user_error(bug) is None

    def test_others_are_bugs(self) -> None:
        assert user_error(ValueError("?")) is None
