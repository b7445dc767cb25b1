"""The Classifier's folder is replaced as a whole; what is in it is the Classifier's own affair."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from kedro.io import DatasetError

from glasshead.datasets.models import ClassifierDataset
from glasshead.errors import ArtifactError


class TinyClassifier:
    """Writes its name as JSON, and a second file where asked."""

    def __init__(self, name: str, extra: str | None = None) -> None:
        self.name, self.extra = name, extra

    def save(self, folder: Path) -> None:
        (folder / "classifier.json").write_text(json.dumps({"name": self.name}))
        if self.extra:
            (folder / self.extra).mkdir()
            (folder / self.extra / "file").write_text("x")

    @classmethod
    def load(cls, folder: Path) -> "TinyClassifier":
        return cls(json.loads((folder / "classifier.json").read_text())["name"])


class BrokenClassifier:
    def save(self, folder: Path) -> None:
        (folder / "classifier.json").write_text("{}")
        raise OSError(28, "No space left on device")


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setitem(
        sys.modules, "glasshead.models.classifier", SimpleNamespace(Classifier=TinyClassifier)
    )
    return ClassifierDataset(filepath=str(tmp_path / "heads" / "calibrated"))


def test_a_classifier_comes_back(dataset):
    dataset.save(TinyClassifier("heads"))
    assert dataset.exists()
    assert dataset.load().name == "heads"


def test_a_new_classifier_leaves_nothing_of_the_old_one(dataset, tmp_path):
    dataset.save(TinyClassifier("old", extra="weights"))
    dataset.save(TinyClassifier("new"))
    assert dataset.load().name == "new"
    files = sorted(
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    )
    assert files == ["heads/calibrated/classifier.json"]


def test_the_swap_also_works_where_folders_cannot_be_exchanged(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("glasshead.files.ctypes.CDLL", lambda _: SimpleNamespace())
    test_a_new_classifier_leaves_nothing_of_the_old_one(dataset, tmp_path)


def test_a_failed_save_leaves_the_old_classifier_and_no_temporary_folder(dataset, tmp_path):
    dataset.save(TinyClassifier("old"))
    with pytest.raises(DatasetError, match="No space left") as error:
        dataset.save(BrokenClassifier())
    assert isinstance(error.value.__cause__, ArtifactError)
    assert dataset.load().name == "old"
    assert [path.name for path in (tmp_path / "heads").iterdir()] == ["calibrated"]


def test_a_missing_or_damaged_classifier_says_what_to_do(tmp_path):
    dataset = ClassifierDataset(filepath=str(tmp_path / "heads"))
    with pytest.raises(DatasetError, match="Run the classifier's pipeline") as error:
        dataset.load()
    assert isinstance(error.value.__cause__, ArtifactError)
    (tmp_path / "heads").mkdir()
    for damaged in ("{", "{}", '{"format": 1}'):
        (tmp_path / "heads" / "classifier.json").write_text(damaged)
        with pytest.raises(
            DatasetError, match=r"Train the classifier again|run the classifier's pipeline"
        ) as error:
            dataset.load()
        assert isinstance(error.value.__cause__, ArtifactError)
