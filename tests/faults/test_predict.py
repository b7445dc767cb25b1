"""Predictions on hostile input and Ctrl-C (rows 12, 13, 24, 33, 34): a line for each image, or the old table."""

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

import glasshead
from glasshead.__main__ import main
from glasshead.errors import ArtifactError
from glasshead.models.classifier import Classifier
from glasshead.models.cnn import build_cnn
from glasshead.serving.predictor import Predictor, load

LABELS = ("<script>alert(1)</script>", "=cmd()", "a\nb")
FORMS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM")


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    colours = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.2, 0.2)}
    return build_cnn("compact_cnn", LABELS, 32, **colours, width=0.125, provenance={}, seed=0)


@pytest.fixture
def folder(classifier: Classifier, tmp_path: Path) -> Path:
    classifier.save(tmp_path / "model")
    return tmp_path / "model"


def encoded(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").resize((40, 30)).save(buffer, form)
    return buffer.getvalue()


def mutated(data: bytes, how: int, draw: np.random.Generator) -> bytes:
    """Return `data` with bits flipped, bytes replaced, its end cut off, or a piece of it gone."""
    changed = bytearray(data)
    places = draw.integers(0, len(data), draw.integers(1, 20))
    if how == 0:
        for place in places:
            changed[place] ^= 1 << draw.integers(8)
    elif how == 1:
        for place in places:
            changed[place] = draw.integers(256)
    else:
        end = None if how == 2 else places[0] + 40
        del changed[places[0] : end]
    return bytes(changed)


def test_two_hundred_mutated_files_crash_nothing(folder, tmp_path, run_python):
    draw = np.random.default_rng(0)
    images = tmp_path / "images"
    images.mkdir()
    for index in range(200):
        data = mutated(encoded(FORMS[index % len(FORMS)]), index % 4, draw)
        (images / f"{index:03d}").write_bytes(data)
    done = run_python(
        "-m", "glasshead", "predict", str(images), "--json", "--classifier", str(folder)
    )
    assert done.returncode == 3, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["image"] for record in records] == sorted(map(str, images.iterdir()))
    bad = [record for record in records if "error" in record]
    assert 20 < len(bad) < 180
    assert all(record.keys() == {"image", "error"} and record["error"] for record in bad)
    assert all(record["class"] in LABELS for record in records if "error" not in record)
    assert done.stderr.splitlines()[-1] == f"{len(bad)} of 200 images cannot be used."
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_the_process_with_130_and_leaves_the_old_table(folder, tmp_path):
    picture = tmp_path / "picture.png"
    picture.write_bytes(encoded("PNG"))
    images, results = tmp_path / "images", tmp_path / "results"
    for each in (images, results):
        each.mkdir()
    for index in range(50_000):
        (images / str(index)).hardlink_to(picture)
    (results / "out.csv").write_text("old")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "glasshead", "predict", str(images)),
            *("--classifier", str(folder), "--csv", str(results / "out.csv")),
        ],
        env={**os.environ, "PYTHONPATH": str(Path(glasshead.__file__).parents[1])},
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # or a shell's background ignores it
    )
    for _ in range(6_000):  # until it writes, two minutes at most
        if len(list(results.iterdir())) > 1:
            break
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=600) == 130
    assert [(path.name, path.read_text()) for path in results.iterdir()] == [("out.csv", "old")]


def test_odd_names_survive_to_the_report(folder, tmp_path, monkeypatch):
    names = [
        "ü 🐈.png",
        "a\nb.png",
        "x" * 251 + ".png",
        "Cat.png",
        "cat.png",
        "<script>.png",
        "-.png",
    ]
    images = tmp_path / "images"
    images.mkdir()
    for name in names:
        (images / name).write_bytes(encoded("PNG"))
    (images / os.fsdecode(b"\xff.png")).write_bytes(encoded("PNG"))
    monkeypatch.chdir(images)
    for options in ([], ["--json"], ["--csv", str(tmp_path / "out.csv")]):
        done = CliRunner().invoke(main, ["predict", ".", "--classifier", str(folder), *options])
        assert done.exit_code == 0, done.stderr
        if options:
            continue
        assert len(done.stdout.splitlines()) == len(names) + 1
    done = CliRunner().invoke(main, ["predict", ".", "--classifier", str(folder), "--json"])
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert {record["image"] for record in records} == {*names, "\\xff.png"}
    assert {record["class"] for record in records} <= set(LABELS)


class Payload:
    """Runs when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def test_a_pickle_is_refused_as_an_image_and_never_executed(classifier, tmp_path):
    marker = tmp_path / "executed"
    (tmp_path / "cat.png").write_bytes(pickle.dumps(Payload(marker)))
    (found,) = Predictor(classifier).predict([tmp_path / "cat.png"])
    assert "not a readable image" in found.error
    assert not marker.exists()


@pytest.mark.parametrize("hash_is_right", [False, True])
def test_a_pickle_is_refused_as_a_model_and_never_executed(folder, tmp_path, hash_is_right):
    import hashlib

    marker = tmp_path / "executed"
    payload = pickle.dumps(Payload(marker))
    (folder / "model.safetensors").write_bytes(payload)
    if hash_is_right:
        described = json.loads((folder / "classifier.json").read_text())
        described["weights_sha256"] = hashlib.sha256(payload).hexdigest()
        (folder / "classifier.json").write_text(json.dumps(described))
    with pytest.raises(ArtifactError):
        load(folder)
    assert not marker.exists()


def test_a_model_without_a_description_is_refused(tmp_path):
    (tmp_path / "model.pt").write_bytes(pickle.dumps(Payload(tmp_path / "executed")))
    with pytest.raises(ArtifactError, match="holds no Classifier"):
        load(tmp_path)
    save_file({}, tmp_path / "model.safetensors")
    (tmp_path / "classifier.json").write_text('{"format": 1, "kind": "os:system"}')
    with pytest.raises(ArtifactError):
        load(tmp_path)
    assert not (tmp_path / "executed").exists()
