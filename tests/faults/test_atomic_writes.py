"""Killed, refused and damaged writes: FAULTS 1, 3, 5, 20 to 23, 25 and 34 where they concern files and the store."""

import errno
import hashlib
import json
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.io import DatasetError
from PIL import Image

from glasshead.datasets.atomic import AtomicJSON, AtomicText
from glasshead.embedding.hashes import as_hashes
from glasshead.embedding.local import embed_images
from glasshead.embedding.store import EmbeddingStore
from glasshead.errors import ArtifactError, EmbeddingError
from glasshead.files import FAILPOINT, replace_folder, write_atomically

STEPS = ("write/filled", "write/synced", "write/renamed")
KEY = "tiny.float32.float32"


class Pictures:
    """Nine grey images in memory."""

    def ids(self) -> pd.Series:
        return pd.Series([f"train/{row}" for row in range(9)])

    def hashes(self) -> np.ndarray:
        return as_hashes(hashlib.sha256(bytes([row])).hexdigest() for row in range(9))

    def release(self) -> None:
        pass

    def pil(self, row: int) -> Image.Image:
        return Image.new("RGB", (2, 2), (row + 1,) * 3)


class Encoder(torch.nn.Module):
    """(b, 3, 2, 2) → (b, 3); `spoiled` is what image 5 gets."""

    key, shape, input_size = "tiny", (3,), 2

    def __init__(self, spoiled: float | None = None) -> None:
        super().__init__()
        self.images = 0
        self.spoiled = spoiled

    def prepare(self, images: list[Image.Image]) -> torch.Tensor:
        return torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.images += len(images)
        embeddings = images.mean(dim=(2, 3))
        if self.spoiled is not None:
            embeddings[images.mean(dim=(1, 2, 3)) == torch.tensor(6.0) / 255] = self.spoiled
        return embeddings


def embed(root: Path, encoder: Encoder) -> np.ndarray:
    embeddings, summary = embed_images(
        Pictures(), encoder, EmbeddingStore(root), batch_size=3, shard_rows=3, device="cpu"
    )
    assert summary["embed/encoded"] == encoder.images
    return embeddings.values[:]


@pytest.fixture(scope="module")
def killed(try_failpoints) -> dict[str, dict]:
    """Return, by failpoint, what embed_until_killed.py found: a kill at each step of each of its four writes."""
    failpoints = ["", *(f"kill:{step}:{write}" for step in STEPS for write in (1, 2, 3, 4))]
    return try_failpoints("embed_until_killed.py", failpoints)


@pytest.mark.parametrize(
    "write", [1, 2, 3, 4], ids=["shard-1", "manifest-1", "shard-2", "manifest-2"]
)
@pytest.mark.parametrize("step", STEPS)
def test_killed_embedding_shows_no_partial_shard_and_resumes_to_the_same_bits(killed, step, write):
    clean, result = killed[""], killed[f"kill:{step}:{write}"]
    assert clean["ended"] == 0
    assert result["ended"] == 9
    complete = [name for name in result["left"] if not name.startswith(".")]
    assert set(complete) <= set(clean["left"])  # a shard's name is the hash of its bytes
    shards = [name for name in complete if name != "manifest.json"]
    assert result["again"] == 0
    assert result["encoded"] == {0: 7, 1: 3, 2: 0}[len(shards)]
    assert result["digest"] == clean["digest"]


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_write_leaves_the_old_file_or_the_new_one(tmp_path, run_python, step):
    path = tmp_path / "metrics.json"
    path.write_text("old")
    code = (
        "import sys; from pathlib import Path; from glasshead.files import write_atomically\n"
        "with write_atomically(Path(sys.argv[1])) as temporary: temporary.write_text('new')"
    )
    assert run_python("-c", code, str(path), **{FAILPOINT: f"kill:{step}:1"}).returncode == -9
    assert path.read_text() == ("new" if step == "write/renamed" else "old")


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_replacement_leaves_the_old_folder_or_the_new_one(tmp_path, run_python, step):
    folder = tmp_path / "calibrated"
    folder.mkdir()
    (folder / "old").touch()
    code = (
        "import sys; from pathlib import Path; from glasshead.files import replace_folder\n"
        "with replace_folder(Path(sys.argv[1])) as temporary: (temporary / 'new').touch()"
    )
    assert run_python("-c", code, str(folder), **{FAILPOINT: f"kill:{step}:1"}).returncode == -9
    assert [path.name for path in folder.iterdir()] == ["new" if step == "write/renamed" else "old"]


def test_what_a_killed_run_left_is_removed_a_day_later(tmp_path):
    for name in (".glasshead-0123.tmp", ".glasshead-4567.tmp", "other.tmp"):
        (tmp_path / name).touch()
    os.utime(tmp_path / ".glasshead-0123.tmp", (0, 0))
    os.utime(tmp_path / "other.tmp", (0, 0))
    with write_atomically(tmp_path / "file") as temporary:
        temporary.touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".glasshead-4567.tmp",
        "file",
        "other.tmp",
    ]


@pytest.fixture
def full_disk(monkeypatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("glasshead.files.os.fsync", refuse)


@pytest.mark.usefixtures("full_disk")
def test_full_disk_keeps_the_old_artefact_and_no_temporary_file(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text('{"accuracy": 1}')
    with pytest.raises(DatasetError, match="No space left on device") as error:
        AtomicJSON(filepath=str(path)).save({"accuracy": 0})
    assert isinstance(error.value.__cause__, ArtifactError)
    assert path.read_text() == '{"accuracy": 1}'
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_while_embedding_keeps_the_shards_that_are_there(tmp_path, monkeypatch):
    monkeypatch.setenv(FAILPOINT, "enospc:write/filled:3")  # the second shard
    monkeypatch.setattr("glasshead.files._passages", {})
    with pytest.raises(EmbeddingError, match="No space left on device"):
        embed(tmp_path, Encoder())
    monkeypatch.delenv(FAILPOINT)
    assert not list((tmp_path / KEY).glob(".*"))
    encoder = Encoder()
    embed(tmp_path, encoder)
    assert encoder.images == 6


def fail_half_way(writer: Callable[[Path], AbstractContextManager[Path]], path: Path) -> None:
    with writer(path) as temporary:
        (temporary / "half" if temporary.is_dir() else temporary).touch()
        raise ZeroDivisionError


@pytest.mark.parametrize("writer", [write_atomically, replace_folder])
def test_an_error_of_the_writer_leaves_nothing(tmp_path, writer):
    with pytest.raises(ZeroDivisionError):
        fail_half_way(writer, tmp_path / "name")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_the_old_report_and_nothing_else(tmp_path, monkeypatch):
    """FAULTS row 34."""

    def interrupt(*paths):
        raise KeyboardInterrupt

    dataset = AtomicText(filepath=str(tmp_path / "report.html"))
    dataset.save("old")
    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        dataset.save("new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_read_only_store_fails_before_any_compute(read_only_folder):
    encoder = Encoder()
    with pytest.raises(EmbeddingError, match=r"cannot be written.*Make it writable"):
        embed(read_only_folder, encoder)
    assert encoder.images == 0


def test_a_store_below_a_file_fails_before_any_compute(tmp_path):
    (tmp_path / "file").touch()
    encoder = Encoder()
    with pytest.raises(EmbeddingError, match="Not a directory"):
        embed(tmp_path / "file" / "store", encoder)
    assert encoder.images == 0


def test_a_read_only_artefact_folder_is_a_typed_error(read_only_folder):
    with (
        pytest.raises(ArtifactError, match="Permission denied"),
        write_atomically(read_only_folder / "file") as temporary,
    ):
        temporary.touch()


@pytest.mark.parametrize("spoiled", [float("nan"), float("inf"), 0.0])
def test_a_spoiled_embedding_stops_the_run_naming_the_image(tmp_path, spoiled):
    with pytest.raises(EmbeddingError, match=r"train/5\."):
        embed(tmp_path, Encoder(spoiled))
    encoder = Encoder()
    embed(tmp_path, encoder)
    assert encoder.images == 6  # the first shard was good


def test_a_flipped_byte_costs_its_shard_alone(tmp_path, caplog):
    values = embed(tmp_path, Encoder())
    files = {path.name: path.read_bytes() for path in (tmp_path / KEY).iterdir()}
    name = next(name for name in sorted(files) if name != "manifest.json")
    for place in (0, 9, 60, -50, -1):  # header's length, header, hashes, values
        damaged = bytearray(files[name])
        damaged[place] ^= 0x10
        (tmp_path / KEY / name).write_bytes(damaged)
        encoder = Encoder()
        with caplog.at_level(logging.WARNING):
            again = embed(tmp_path, encoder)
        assert encoder.images == 3
        assert f"{name} is damaged" in caplog.text
        assert again.tobytes() == values.tobytes()
        assert {path.name: path.read_bytes() for path in (tmp_path / KEY).iterdir()} == files


@pytest.mark.parametrize(
    "content",
    [
        b"",
        (2**62).to_bytes(8, "little") + b"{",
        (60).to_bytes(8, "little") + b"{".ljust(60),
        (80).to_bytes(8, "little")
        + b'{"hashes":{"dtype":"U8","shape":[2,32],"data_offsets":[0,64]}}'.ljust(80)
        + bytes(63),
        (160).to_bytes(8, "little")
        + b'{"hashes":{"dtype":"U8","shape":[1,32],"data_offsets":[0,32]},'
        b'"values":{"dtype":"F32","shape":[1,8],"data_offsets":[16,48]}}'.ljust(160)
        + bytes(48),
        (80).to_bytes(8, "little")
        + b'{"hashes":{"dtype":"U8","shape":[1,32],"data_offsets":[0,32]}}'.ljust(80)
        + bytes(32),
    ],
    ids=["empty", "huge-header", "no-json", "truncated", "overlap", "no-values"],
)
def test_a_malformed_shard_with_a_true_hash_is_reported_and_left_out(tmp_path, caplog, content):
    name = hashlib.sha256(content).hexdigest() + ".safetensors"
    (tmp_path / KEY).mkdir()
    (tmp_path / KEY / name).write_bytes(content)
    shard = {
        "file": name,
        "sha256": Path(name).stem,
        "rows": 1,
        "shape": [1, 3],
        "dtype": "float32",
    }
    (tmp_path / KEY / "manifest.json").write_text(json.dumps({"shards": [shard]}))
    encoder = Encoder()
    with caplog.at_level(logging.WARNING):
        embed(tmp_path, encoder)
    assert encoder.images == 9
    assert f"{name} is damaged" in caplog.text
    assert name not in (tmp_path / KEY / "manifest.json").read_text()


APPEND = """
import sys
from pathlib import Path
import numpy as np
from glasshead.embedding.store import EmbeddingStore
store, writer = EmbeddingStore(Path(sys.argv[1])), int(sys.argv[2])
for number in range(20):
    store.append("tiny", np.full((1, 32), 20 * writer + number, np.uint8), np.full((1, 3), 1 + number, np.float32))
"""


def test_two_processes_that_append_at_once_lose_no_shard(tmp_path, run_python):
    with ThreadPoolExecutor(2) as pool:
        writers = list(
            pool.map(lambda writer: run_python("-c", APPEND, str(tmp_path), writer), "01")
        )
    assert [writer.returncode for writer in writers] == [0, 0], writers
    store = EmbeddingStore(tmp_path)
    store.open_for_writing("tiny")
    hashes = np.repeat(np.arange(40, dtype=np.uint8)[:, None], 32, axis=1)
    values = store.rows("tiny", hashes)
    assert values.found.all()
    np.testing.assert_array_equal(values[:][:, 0], 1 + np.arange(40) % 20)


def test_two_runs_on_one_store_both_finish_with_the_same_bytes(tmp_path):
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: embed(tmp_path, Encoder()), range(2))
    assert first.tobytes() == second.tobytes()
    encoder = Encoder()
    assert embed(tmp_path, encoder).tobytes() == first.tobytes()
    assert encoder.images == 0
