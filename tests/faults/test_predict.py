"""Predictions on hostile input (rows 12, 13, 24, 33): a line for each image, whatever it is and is called."""

import io
import json
import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

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


def test_two_hundred_mutated_files_crash_nothing(classifier, tmp_path):
    draw = np.random.default_rng(0)
    whole = {form: encoded(form) for form in FORMS}
    for index in range(200):
        data = bytearray(whole[FORMS[index % len(FORMS)]])
        for place in draw.integers(0, len(data), draw.integers(1, 20)):
            data[place] = draw.integers(256)
        if index % 5 == 0:
            del data[draw.integers(1, len(data)) :]
        (tmp_path / f"{index:03d}").write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of odd metadata
        found = Predictor(classifier).predict(sorted(tmp_path.iterdir()))
    assert len(found) == 200
    for each in found:
        assert bool(each.error) != bool(each.probabilities)
        if each.error is None:
            assert sum(each.probabilities.values()) == pytest.approx(1)
    assert 20 < sum(each.error is None for each in found) < 180


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
