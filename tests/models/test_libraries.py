"""Backbones of torchvision, of timm by name, and of transformers' ViTs, against what the libraries compute."""

import json
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from timm.models._hub import save_for_hf
from torchvision.models import get_model, get_model_weights
from torchvision.models.feature_extraction import create_feature_extractor
from transformers import (
    BitImageProcessor,
    DeiTConfig,
    DeiTForImageClassification,
    DeiTImageProcessor,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

from glasshead.errors import BackboneError, ParameterError
from glasshead.models import packed
from glasshead.models.backbone import BackboneParams, as_used, resolve_backbone, weights_hash
from glasshead.models.clip import ImageEncoder, load_encoder
from glasshead.models.torchvision_networks import known_networks

# of each network: a part whose output is the last feature map
TORCHVISION = {
    "convnext_tiny": "features",
    "densenet121": "features",
    "efficientnet_b0": "features",
    "mobilenet_v2": "features",
    "mobilenet_v3_small": "features",
    "regnet_y_400mf": "trunk_output",
    "resnet18": "layer4",
    "shufflenet_v2_x0_5": "conv5",
    "swin_t": "permute",
    "vgg16": "features",
    "vit_b_16": "encoder",
}
SMALL = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "glasshead"


def saved_state(network: torch.nn.Module, file: Path) -> Path:
    torch.save(network.state_dict(), file)
    return file


def check_contract(encoder: ImageEncoder) -> None:
    """Check frozen weights, gradients of pixels, and that two loads agree in key and numbers."""
    side = encoder.input_size
    image = torch.rand(1, 3, side, side, requires_grad=True)
    vector = encoder(image)
    vector.square().sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    with torch.inference_mode():
        faster = packed.pack_if_it_runs(encoder)(image)
        torch.testing.assert_close(faster, vector.detach(), rtol=1e-3, atol=1e-4)
    again = load_encoder(encoder.backbone)
    assert again.key == encoder.key
    with torch.inference_mode():
        torch.testing.assert_close(again(image), vector.detach())


class TestTorchvision:
    @pytest.mark.parametrize("name", TORCHVISION)
    def test_one_gives_what_torchvision_gives(self, name, tmp_path):
        torch.manual_seed(0)
        network = get_model(name, num_classes=4).eval()
        file = saved_state(network, tmp_path / "weights.pth")
        backbone = BackboneParams(name=f"torchvision:{name}", weights=file)
        encoder, spatial = load_encoder(backbone), load_encoder(backbone, "spatial")
        assert (encoder.output, encoder.input_size) == ("pooled", 224)
        seen = []
        linear = [m for m in network.modules() if isinstance(m, torch.nn.Linear)][-1]
        linear.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
        images = torch.rand(2, 3, 224, 224)
        normalised = (images - encoder.mean) / encoder.std
        with torch.inference_mode():
            network(normalised)
            features = create_feature_extractor(network, {TORCHVISION[name]: "map"})
            expected = features(normalised)["map"]
            expected = expected[:, 1:] if name == "vit_b_16" else expected
            torch.testing.assert_close(encoder(images), seen[0], rtol=1e-4, atol=1e-5)
            places = spatial(images)
        assert places.shape[1:] == spatial.shape
        # that of vgg16 is pooled to 7 × 7, which changes nothing at this size
        torch.testing.assert_close(places, expected, rtol=1e-4, atol=1e-5)
        check_contract(encoder)

    @pytest.mark.parametrize("name", ["vgg16", "resnet50", "convnext_tiny", "swin_v2_t"])
    def test_pixels_are_those_of_torchvisions_own_transform(self, name, tmp_path, pictures):
        file = saved_state(get_model(name), tmp_path / "weights.pth")
        encoder = load_encoder(BackboneParams(name=f"torchvision:{name}", weights=file))
        transform = get_model_weights(name).DEFAULT.transforms()
        theirs = torch.cat([transform(picture)[None] for picture in pictures])
        difference = encoder.prepare(pictures) - (theirs * encoder.std + encoder.mean) * 255
        assert difference.abs().max() < 2.01  # levels of 255: torch rounds once more
        assert difference.abs().mean() < 0.1

    @pytest.mark.parametrize("name", ["resnet18", "swin_t", "shufflenet_v2_x0_5"])
    def test_a_convolutional_map_has_a_layer(self, name, tmp_path):
        file = saved_state(get_model(name), tmp_path / "weights.pth")
        backbone = BackboneParams(name=f"torchvision:{name}", weights=file)
        encoder, spatial = load_encoder(backbone), load_encoder(backbone, "spatial")
        seen = []
        encoder.cam_layers()[-1].register_forward_hook(lambda *given: seen.append(given[-1]))
        images = torch.rand(1, 3, 224, 224)
        encoder(images)
        torch.testing.assert_close(seen[0], spatial(images))

    def test_a_transformer_has_none(self, tmp_path):
        file = saved_state(get_model("vit_b_32"), tmp_path / "weights.pth")
        encoder = load_encoder(BackboneParams(name="torchvision:vit_b_32", weights=file))
        with pytest.raises(ParameterError, match="no convolutional map"):
            encoder.cam_layers()[-1]

    def test_default_weights_come_from_torch_hubs_cache(self, tmp_path, monkeypatch):
        network = get_model("shufflenet_v2_x0_5")
        monkeypatch.setattr(
            torchvision.models.ShuffleNet_V2_X0_5_Weights,
            "get_state_dict",
            lambda self, **options: network.state_dict(),
        )
        encoder = load_encoder(BackboneParams(name="torchvision:shufflenet_v2_x0_5"))
        assert encoder.shape == (1024,)

    def test_a_network_that_cannot_be_used_is_not_offered(self):
        assert not {"squeezenet1_0", "inception_v3", "googlenet"} & set(known_networks())
        with pytest.raises(BackboneError, match="no architecture 'squeezenet1_0'"):
            resolve_backbone(BackboneParams(name="torchvision:squeezenet1_0", weights="x"))


class TestTimmByName:
    def test_weights_from_a_file_are_those_of_a_saved_folder(self, tmp_path, cache):
        torch.manual_seed(0)
        model = timm.create_model("test_resnet", num_classes=5)
        save_for_hf(model, tmp_path / "saved", safe_serialization=True)
        for file in (tmp_path / "weights.pth", tmp_path / "weights.safetensors"):
            if file.suffix == ".pth":
                saved_state(model, file)
            else:
                save_file(model.state_dict(), file)
            named = load_encoder(BackboneParams(name="timm:test_resnet", weights=file))
            saved = load_encoder(BackboneParams(name=str(tmp_path / "saved")))
            images = torch.rand(2, 3, named.input_size, named.input_size)
            torch.testing.assert_close(named(images), saved(images), rtol=0, atol=0)
            assert named.cam_layers()
            check_contract(named)
        assert len(list(cache.iterdir())) == 2

    def test_without_weights_the_hubs_are_asked_for(self, monkeypatch):
        asked = []

        def remember(name, revision, allow_patterns):
            asked.append((name, revision))
            raise OSError("offline")

        monkeypatch.setattr("huggingface_hub.snapshot_download", remember)
        with pytest.raises(BackboneError, match=r"'timm/resnet18.a1_in1k'.* could not be fetched"):
            resolve_backbone(BackboneParams(name="timm:resnet18", revision="v1"))
        assert asked == [("timm/resnet18.a1_in1k", "v1")]

    def test_an_architecture_without_weights_on_the_hub_needs_a_file(self):
        described = {name: timm.get_pretrained_cfg(name) for name in timm.list_models("resnet*")}
        name = next(name for name, each in described.items() if not (each and each.hf_hub_id))
        with pytest.raises(BackboneError, match=rf"no weights for {name}.* backbone.weights"):
            resolve_backbone(BackboneParams(name=f"timm:{name}"))


@pytest.mark.parametrize(
    ("name", "near"),
    [("timm:resnet18a", "resnet18"), ("torchvision:resnet19", "resnet18"), ("timm:", "")],
)
def test_an_unknown_architecture_is_named_with_near_ones(name, near, tmp_path):
    file = saved_state(torch.nn.Linear(2, 2), tmp_path / "weights.pth")
    with pytest.raises(BackboneError, match=rf"has no architecture .*{near}"):
        resolve_backbone(BackboneParams(name=name, weights=file))


@pytest.mark.parametrize("name", ["timm:test_resnet", "torchvision:resnet18"])
def test_weights_that_do_not_fit_leave_nothing_behind(name, tmp_path, cache):
    file = saved_state(torch.nn.Linear(2, 2), tmp_path / "weights.pth")
    with pytest.raises(BackboneError, match=r"backbone.weights do not fit"):
        resolve_backbone(BackboneParams(name=name, weights=file))
    assert list(cache.iterdir()) == []


class Dangerous:
    def __reduce__(self):
        return (print, ("unpickled",))


@pytest.mark.parametrize("content", [None, b"", b"no pickle", "dangerous"])
def test_weights_that_cannot_be_read_are_refused(content, tmp_path, capsys):
    file = tmp_path / "weights.pth"
    if content == "dangerous":
        torch.save({"a": Dangerous()}, file)
    elif content is not None:
        file.write_bytes(content)
    with pytest.raises(BackboneError, match="cannot be read"):
        resolve_backbone(BackboneParams(name="timm:test_resnet", weights=file))
    assert "unpickled" not in capsys.readouterr().out


def test_a_tag_that_timm_does_not_have_is_refused():
    with pytest.raises(BackboneError, match=r"no architecture 'resnet18.nope'"):
        resolve_backbone(BackboneParams(name="timm:resnet18.nope"))


def test_a_file_of_other_things_than_tensors_is_refused(tmp_path):
    torch.save({"fc.weight": 5}, tmp_path / "weights.pth")
    backbone = BackboneParams(name="timm:test_resnet", weights=tmp_path / "weights.pth")
    with pytest.raises(BackboneError, match="something else than tensors"):
        resolve_backbone(backbone)


def test_a_revision_is_provenance_only_of_what_comes_from_the_hub():
    assert as_used(BackboneParams(name="timm:resnet18", revision="v1")).revision == "v1"
    for backbone in (
        BackboneParams(name="torchvision:resnet18", revision="v1"),
        BackboneParams(name="timm:resnet18", revision="v1", weights="x.pth"),
    ):
        assert as_used(backbone).revision is None


def test_weights_are_only_for_architectures():
    with pytest.raises(ValueError, match="only for names such as timm:"):
        BackboneParams(name="nano-clip", weights="x.pth")


def save_vit(kind: str, folder: Path) -> None:
    torch.manual_seed(0)
    if kind == "vit":
        model, processor = ViTForImageClassification(ViTConfig(**SMALL)), ViTImageProcessor
        size = {"size": {"height": 32, "width": 32}}
    elif kind == "deit":
        model, processor = DeiTForImageClassification(DeiTConfig(**SMALL)), DeiTImageProcessor
        size = {"size": {"height": 36, "width": 36}, "crop_size": {"height": 32, "width": 32}}
    else:
        size = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}
        processor = BitImageProcessor
        if kind == "dinov2":
            model = Dinov2Model(Dinov2Config(**SMALL))
        else:
            model = Dinov2WithRegistersModel(
                Dinov2WithRegistersConfig(**SMALL, num_register_tokens=3)
            )
    model.save_pretrained(folder)
    processor(**size).save_pretrained(folder)


class TestViTs:
    @pytest.mark.parametrize(
        ("kind", "before"), [("vit", 1), ("deit", 2), ("dinov2", 1), ("dinov2_with_registers", 4)]
    )
    def test_one_gives_what_transformers_gives(self, kind, before, tmp_path, pictures):
        from transformers import AutoImageProcessor, AutoModel

        save_vit(kind, tmp_path)
        inputs = AutoImageProcessor.from_pretrained(tmp_path)(pictures, return_tensors="pt")
        with torch.inference_mode():
            states = AutoModel.from_pretrained(tmp_path).eval()(**inputs).last_hidden_state
        backbone = BackboneParams(name=str(tmp_path))
        pooled, spatial = load_encoder(backbone), load_encoder(backbone, "spatial")
        pixels = inputs["pixel_values"] * pooled.std + pooled.mean
        prepared = pooled.prepare(pictures)
        assert (prepared - pixels * 255).abs().max() < 1.01
        with torch.inference_mode():
            torch.testing.assert_close(pooled(pixels), states[:, 0], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(spatial(pixels), states[:, before:], rtol=1e-4, atol=1e-5)
        assert (pooled.shape, spatial.shape) == ((16,), (16, 16))
        check_contract(pooled)

    @pytest.mark.parametrize(
        ("kind", "settings"),
        [
            ("vit", {"size": 32}),
            ("deit", {"size": 40, "crop_size": 32}),
            ("dinov2", {"size": 40, "crop_size": 32}),
        ],
    )
    def test_settings_that_are_left_out_have_the_librarys_defaults(
        self, kind, settings, tmp_path, pictures
    ):
        from transformers import AutoImageProcessor

        save_vit(kind, tmp_path)
        path = tmp_path / "preprocessor_config.json"
        name = json.loads(path.read_text())["image_processor_type"]
        path.write_text(json.dumps({"image_processor_type": name} | settings))
        theirs = AutoImageProcessor.from_pretrained(tmp_path)(pictures, return_tensors="pt")
        encoder = load_encoder(BackboneParams(name=str(tmp_path)))
        ours = (encoder.prepare(pictures) / 255 - encoder.mean) / encoder.std
        assert (ours - theirs["pixel_values"]).abs().max() < 0.05

    def test_a_configuration_that_does_not_fit_the_weights(self, tmp_path):
        save_vit("vit", tmp_path)
        path = tmp_path / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"num_hidden_layers": 3}))
        with pytest.raises(BackboneError, match="lacks weights"):
            load_encoder(BackboneParams(name=str(tmp_path)))


def test_other_weights_of_one_architecture_have_another_hash(tmp_path):
    folders = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        file = saved_state(timm.create_model("test_resnet"), tmp_path / f"{seed}.pth")
        folders.append(resolve_backbone(BackboneParams(name="timm:test_resnet", weights=file)))
    first, second = map(weights_hash, folders)
    assert first != second
