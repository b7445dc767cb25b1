"""Killed, refused and damaged trainings: FAULTS rows 2, 3, 24, 25 and 34 where they concern the loop."""

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from glasshead.errors import ArtifactError
from glasshead.files import FAILPOINT
from glasshead.hooks.processes import exit_on_sigterm
from glasshead.training.batches import TensorBatches
from glasshead.training.checkpoint import CheckpointFolder
from glasshead.training.history import History
from glasshead.training.loop import fit
from glasshead.training.params import TrainingParams

# Six steps in two epochs and up to six writes: last after step 2, best and last after 3, last after 5, best, last.
STEPS = [f"train/step:{passage}" for passage in range(1, 7)]
WRITES = [
    f"write/{stage}:{passage}"
    for stage in ("filled", "synced", "renamed")
    for passage in (1, 2, 3, 4)
]
LEFT = {"train/step:1": 6, "train/step:3": 4, "train/step:4": 3, "train/step:6": 1}


@pytest.fixture(scope="module")
def killed(try_failpoints) -> dict[str, dict]:
    """Return, by failpoint, what train_until_killed.py found."""
    failpoints = ["", *(f"kill:{step}" for step in (*STEPS, *WRITES))]
    return try_failpoints("train_until_killed.py", failpoints)


@pytest.mark.parametrize("step", [*STEPS, *WRITES])
def test_a_killed_training_resumes_to_the_same_bits(killed, step):
    clean, result = killed[""], killed[f"kill:{step}"]
    assert clean["ended"] == clean["again"] == 0
    assert clean["steps"] == 0  # the second try found a finished training
    assert result["ended"] == signal.SIGKILL
    assert result["again"] == 0
    assert result["digest"] == clean["digest"]
    if step in LEFT:
        assert result["steps"] == LEFT[step]


IMAGES = TensorBatches(
    torch.randint(
        0, 256, (12, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    ),
    torch.arange(12) % 2,
)


def train(root: Path, augmentation=None) -> tuple[nn.Module, History]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    params = TrainingParams(epochs=3, batch_size=4)
    history = fit(
        model, IMAGES, IMAGES, params, 0,
        device="cpu", checkpoints=CheckpointFolder(root), augmentation=augmentation,
    )  # fmt: skip
    for row in history.epochs:
        del row["seconds"]
    return model, history


def outcome(root: Path) -> tuple[list, list, list]:
    model, history = train(root)
    return history.epochs, history.steps, model[1].weight.tolist()


@pytest.mark.parametrize("write", [1, 2, 3, 4])
@pytest.mark.parametrize("stage", ["filled", "synced"])
def test_a_full_disk_is_a_clear_error_and_what_was_there_stays(tmp_path, monkeypatch, stage, write):
    expected = outcome(tmp_path / "whole")
    monkeypatch.setenv(FAILPOINT, f"enospc:write/{stage}:{write}")
    monkeypatch.setattr("glasshead.files._passages", {})
    root = tmp_path / "full"
    with pytest.raises(ArtifactError, match=r"Cannot write .*: No space left on device"):
        train(root)
    monkeypatch.delenv(FAILPOINT)
    names = {path.name for path in root.iterdir()}
    assert names == [set(), {"best"}, {"best", "last"}, {"best", "last"}][write - 1]
    assert outcome(root) == expected


@pytest.fixture
def signals_of_a_run() -> Iterator[None]:
    """Let SIGINT and SIGTERM do what they do in `kedro run`, even where tests run in the background."""
    wanted = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    exit_on_sigterm()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals_of_a_run")
@pytest.mark.parametrize("stopped", [0, 1])
@pytest.mark.parametrize(
    ("number", "raised", "code"),
    [(signal.SIGINT, KeyboardInterrupt, None), (signal.SIGTERM, SystemExit, "143")],
)
def test_a_signal_passes_leaves_nothing_half_written_and_training_goes_on(
    tmp_path, number, raised, code, stopped
):
    expected = outcome(tmp_path / "whole")

    def interrupt(images, labels, seed, epoch):
        if epoch == stopped:
            signal.raise_signal(number)
            raise AssertionError
        return images / 255, nn.functional.one_hot(labels, 2).float()

    root = tmp_path / "stopped"
    root.mkdir()
    with pytest.raises(raised, match=code):
        train(root, interrupt)
    assert {path.name for path in root.iterdir()} == [set(), {"best", "last"}][stopped]
    assert outcome(root) == expected


@pytest.mark.parametrize(
    "content",
    [
        b"",
        (2**62).to_bytes(8, "little") + b"{",
        b"\x80\x05cos\nsystem\n(S'touch marker'\ntR.",
    ],
    ids=["empty", "huge-header", "pickle"],
)
@pytest.mark.parametrize("name", ["state.json", "state.safetensors"])
def test_a_damaged_checkpoint_costs_the_time_alone(tmp_path, caplog, monkeypatch, name, content):
    monkeypatch.chdir(tmp_path)
    expected = outcome(tmp_path / "checkpoints")
    (tmp_path / "checkpoints/last" / name).write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert outcome(tmp_path / "checkpoints") == expected
    assert str(tmp_path / "checkpoints/last" / name) in caplog.text
    assert not (tmp_path / "marker").exists()
