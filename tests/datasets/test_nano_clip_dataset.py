"""nano-clip's folder is replaced as a whole, and never looked for on the hub."""

from pathlib import Path

import huggingface_hub
import pytest
import torch
from kedro.io import DatasetError

from glasshead.datasets.models import NanoClipDataset
from glasshead.errors import ArtifactError
from glasshead.images.captions import all_words
from glasshead.models.backbone import BackboneParams
from glasshead.models.clip import load_encoder
from glasshead.models.nano_clip import NanoClip, NanoClipParams

TINY = NanoClipParams(width=16, layers=1, heads=2, text_width=16, projection=8)


def build(seed: int) -> NanoClip:
    torch.manual_seed(seed)
    return NanoClip.build(TINY, all_words())


@pytest.fixture(scope="module")
def nano() -> NanoClip:
    return build(0)


@pytest.fixture
def dataset(tmp_path) -> NanoClipDataset:
    return NanoClipDataset(filepath=str(tmp_path / "models" / "nano-clip"))


def weights(nano: NanoClip) -> torch.Tensor:
    return nano.model.visual_projection.weight


def refused(dataset: NanoClipDataset, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason) as error:
        dataset.load()
    assert isinstance(error.value.__cause__, ArtifactError)


def test_it_comes_back(dataset, nano):
    assert not dataset.exists()
    dataset.save(nano)
    assert dataset.exists()
    again = dataset.load()
    assert torch.equal(weights(again), weights(nano))
    captions = ["a photo of a cat"]
    assert torch.equal(again.tokens(captions)["input_ids"], nano.tokens(captions)["input_ids"])


def test_what_it_saves_is_a_backbone(dataset, nano, tmp_path):
    dataset.save(nano)
    encoder = load_encoder(BackboneParams(name=str(tmp_path / "models" / "nano-clip")))
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        expected = nano.model.eval().get_image_features(pixel_values=nano.normalise(images))
        torch.testing.assert_close(encoder(images), expected.pooler_output)


def test_a_new_model_leaves_nothing_of_the_old_one(dataset, nano, tmp_path):
    dataset.save(nano)
    (tmp_path / "models" / "nano-clip" / "second.safetensors").write_bytes(b"old")
    other = build(1)
    dataset.save(other)
    assert torch.equal(weights(dataset.load()), weights(other))
    assert not (tmp_path / "models" / "nano-clip" / "second.safetensors").exists()
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["nano-clip"]


def test_a_failed_save_leaves_the_old_model_and_no_temporary_folder(
    dataset, nano, tmp_path, monkeypatch
):
    dataset.save(nano)

    def fail(self, folder):
        (folder / "config.json").write_text("{}")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(NanoClip, "save", fail)
    with pytest.raises(DatasetError, match="No space left"):
        dataset.save(build(1))
    assert torch.equal(weights(dataset.load()), weights(nano))
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["nano-clip"]


def test_two_saves_give_the_same_bytes(nano, tmp_path):
    for name in ("first", "second"):
        NanoClipDataset(filepath=str(tmp_path / name)).save(nano)
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("first", "second")
    )
    assert first == second


def test_a_missing_folder_says_what_to_run_and_asks_no_hub(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    refused(dataset, "There is no nano-clip in .*--pipelines=pretrain")
    refused(
        NanoClipDataset(filepath="models/nano-clip"), "There is no nano-clip in models/nano-clip"
    )


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.safetensors", lambda data: data[: len(data) // 2]),
        ("model.safetensors", lambda data: b""),
        ("config.json", lambda data: b"{"),
        ("tokenizer.json", lambda data: data[:100]),
        ("preprocessor_config.json", lambda data: b"{"),
    ],
)
def test_a_damaged_file_says_what_to_do(dataset, nano, tmp_path, name, damage):
    dataset.save(nano)
    path = Path(tmp_path / "models" / "nano-clip" / name)
    path.write_bytes(damage(path.read_bytes()))
    refused(dataset, "is damaged .*Delete the folder")
