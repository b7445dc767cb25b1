"""Round trips of every optimiser's state, and checkpoints that are damaged."""

import logging

import pytest
import torch
from torch import nn

from glasshead.training.checkpoint import (
    CheckpointFolder,
    join_parts,
    load_optimisers,
    optimiser_tensors,
    split_parts,
)
from glasshead.training.history import History, Progress
from glasshead.training.optimisers import OptimiserParams, build_optimisers
from glasshead.training.phases import one_phase

PROGRESS = Progress(
    phase=1,
    epoch=2,
    step=3,
    seconds=0.1 + 0.2,
    micro_batch=8,
    scaler={"scale": 65536.0},
    confusion=[[1, 2], [3, 4]],
    history=History([{"epoch": 1, "train_loss": 1 / 3}], [{"step": 1, "gradient_norm": None}], 1),
)
TENSORS = {
    "strided": torch.arange(24.0).reshape(2, 3, 2, 2).to(memory_format=torch.channels_last),
    "shared": (shared := torch.rand(3)),
    "also shared": shared,
    "count": torch.tensor(7),
}


def test_it_comes_back_to_the_bit(tmp_path):
    folder = CheckpointFolder(tmp_path / "new" / "checkpoints")
    folder.save("last", "id", PROGRESS, TENSORS)
    progress, tensors = folder.load("last", "id")
    assert progress == PROGRESS
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_none_is_none_and_another_identity_is_logged(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    folder = CheckpointFolder(tmp_path)
    assert folder.load("last", "id") is None
    assert not caplog.records
    folder.save("last", "id", PROGRESS, TENSORS)
    assert folder.load("last", "other") is None
    assert f"{tmp_path / 'last'} belongs to another training" in caplog.text


def test_any_flipped_byte_is_noticed_or_harmless(tmp_path, caplog):
    """Harmless is white space, or a name in JSON that nothing asks for."""
    folder = CheckpointFolder(tmp_path)
    folder.save("last", "id", PROGRESS, TENSORS)
    for path in sorted((tmp_path / "last").iterdir()):
        whole = path.read_bytes()
        for place in range(0, len(whole), 5):
            damaged = bytearray(whole)
            damaged[place] ^= 0x11
            path.write_bytes(damaged)
            caplog.clear()
            found = folder.load("last", "id")
            if found is None:
                assert str(tmp_path / "last") in caplog.text or path.name == "state.json"
            else:
                assert found[0] == PROGRESS
                assert all(torch.equal(found[1][name], TENSORS[name]) for name in TENSORS)
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["state.json", "state.safetensors"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff" * 100, None])
def test_damage_is_a_warning_that_names_the_file(tmp_path, caplog, name, content):
    folder = CheckpointFolder(tmp_path)
    folder.save("last", "id", PROGRESS, TENSORS)
    path = tmp_path / "last" / name
    path.unlink() if content is None else path.write_bytes(content)
    assert folder.load("last", "id") is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(path) in record.getMessage()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_an_optimiser_goes_on_as_if_nothing_had_been(name, layout):
    def network() -> nn.Module:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 4), nn.Linear(4, 2))
        return model.to(memory_format=layout)

    def step(model: nn.Module, optimisers: list[torch.optim.Optimizer]) -> None:
        model.zero_grad()
        model(torch.ones(5, 3, 4, 4)).square().sum().backward()
        for optimiser in optimisers:
            optimiser.step()

    first, second = network(), network()
    ours, theirs = (
        build_optimisers(model, one_phase(model, 1), OptimiserParams(name=name))
        for model in (first, second)
    )
    step(first, ours)
    step(first, ours)
    second.load_state_dict(first.state_dict())
    state = split_parts(join_parts({"optimiser": optimiser_tensors(ours)}))["optimiser"]
    assert state
    load_optimisers(theirs, {key: value.clone().contiguous() for key, value in state.items()})
    step(first, ours)
    step(second, theirs)
    for mine, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(mine, other)
    for mine, other in zip(ours, theirs, strict=True):
        for kept, restored in zip(mine.state.values(), other.state.values(), strict=True):
            assert {k: v.stride() for k, v in kept.items() if v.ndim} == {
                k: v.stride() for k, v in restored.items() if v.ndim
            }
