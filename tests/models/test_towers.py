"""What each kind of backbone gives, against the library that wrote it on its own input; and what it cannot give."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from timm.data import create_transform, resolve_model_data_config
from timm.models._hub import save_for_hf
from transformers import (
    CLIPImageProcessor,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    SiglipImageProcessor,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from glasshead.errors import ArtifactError, BackboneError, ParameterError
from glasshead.models.backbone import BackboneParams
from glasshead.models.clip import (
    ImageEncoder,
    load_encoder,
    load_encoder_with_key,
    processor_settings,
)

OUTPUTS = ("projected", "pooled", "spatial", "attention_inputs")
SHAPES = {
    "clip": {"projected": (8,), "pooled": (16,), "spatial": (16, 16), "attention_inputs": (16, 32)},
    "siglip": {
        "projected": (16,),
        "pooled": (16,),
        "spatial": (16, 16),
        "attention_inputs": (16, 16),
    },
    "resnet": {
        "projected": (6,),
        "pooled": (6,),
        "spatial": (128, 2, 2),
        "attention_inputs": (128, 2, 2),
    },
}
CASES = [(kind, output) for kind in SHAPES for output in OUTPUTS]


@pytest.fixture
def folders(clip_folder, siglip_folder, resnet_folder) -> dict[str, Path]:
    return {"clip": clip_folder, "siglip": siglip_folder, "resnet": resnet_folder}


def load(folder: Path, output="projected") -> ImageEncoder:
    return load_encoder(BackboneParams(name=str(folder)), output)


def agree(folder: Path, pictures, expected: dict[str, torch.Tensor]) -> None:
    """Compare each output on each picture with what its library computed from its own pixels."""
    for output, theirs in expected.items():
        encoder = load(folder, output)
        with torch.inference_mode():
            ours = encoder(encoder.prepare(pictures).float() / 255)
        assert ours.shape == theirs.shape, output
        cosine = torch.cosine_similarity(ours.flatten(1), theirs.flatten(1))
        assert cosine.min() >= 0.9999, output
        torch.testing.assert_close(
            ours.flatten(1).norm(dim=1), theirs.flatten(1).norm(dim=1), rtol=2e-3, atol=0
        )


class TestAgreement:
    @torch.inference_mode()
    def test_clip_gives_what_transformers_gives(self, clip_folder, pictures):
        inputs = CLIPImageProcessor.from_pretrained(clip_folder)(pictures, return_tensors="pt")
        model = CLIPModel.from_pretrained(clip_folder).eval()
        whole = model.vision_model(**inputs, output_hidden_states=True)
        states = whole.hidden_states
        expected = {
            "projected": model.get_image_features(**inputs).pooler_output,
            "pooled": whole.pooler_output,
            "spatial": model.vision_model.post_layernorm(whole.last_hidden_state)[:, 1:],
            "attention_inputs": torch.cat(states[-3:-1], dim=2)[:, 1:],
        }
        agree(clip_folder, pictures, expected)
        torch.testing.assert_close(
            model.visual_projection(expected["pooled"]), expected["projected"]
        )

    @torch.inference_mode()
    def test_siglip_gives_what_transformers_gives(self, siglip_folder, pictures):
        inputs = SiglipImageProcessor.from_pretrained(siglip_folder)(pictures, return_tensors="pt")
        model = SiglipModel.from_pretrained(siglip_folder).eval()
        features = model.get_image_features(**inputs)
        expected = {
            "projected": features.pooler_output,
            "pooled": features.pooler_output,
            "spatial": features.last_hidden_state,
            "attention_inputs": features.last_hidden_state,
        }
        agree(siglip_folder, pictures, expected)

    @torch.inference_mode()
    @pytest.mark.parametrize("crop", [0.875, 0.9, 0.95, 1.0])
    def test_a_resnet_gives_what_timm_gives(self, resnet_folder, pictures, tmp_path, crop):
        folder = Path(shutil.copytree(resnet_folder, tmp_path / "resnet"))
        config = json.loads((folder / "config.json").read_text())
        config["pretrained_cfg"]["crop_pct"] = crop
        (folder / "config.json").write_text(json.dumps(config))
        model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        stages = timm.create_model(
            f"local-dir:{folder}", pretrained=True, features_only=True, out_indices=[4]
        ).eval()
        transform = create_transform(**resolve_model_data_config(model))
        pixels = torch.stack([transform(picture) for picture in pictures])
        vectors = model(pixels)
        agree(
            folder,
            pictures,
            {
                "projected": vectors,
                "pooled": vectors,
                "spatial": stages(pixels)[0],
                "attention_inputs": stages(pixels)[0],
            },
        )

    def test_patch_tokens_run_row_by_row_from_the_top_left(self, clip_folder):
        """Without attention and position, a token depends on its own patch alone."""
        encoder = load(clip_folder, "spatial")
        for layer in encoder.vision.layers:
            torch.nn.init.zeros_(layer.self_attn.out_proj.weight)
        image = torch.zeros(1, 3, 32, 32)
        changed = image.clone()
        changed[:, :, 8:16, 16:24] = 1  # second row, third column of four
        moved = (encoder(image) != encoder(changed)).any(dim=-1)[0]
        assert moved.nonzero().flatten().tolist() == [1 * 4 + 2]


class TestContract:
    @pytest.mark.parametrize(("kind", "output"), CASES)
    def test_shapes_are_told_and_gradients_reach_the_pixels_alone(self, folders, kind, output):
        encoder = load(folders[kind], output)
        assert encoder.shape == SHAPES[kind][output]
        assert encoder.dimension == encoder.shape[0 if kind == "resnet" else -1]
        assert encoder.output == output
        assert not encoder.training
        assert not any(parameter.requires_grad for parameter in encoder.parameters())
        assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
        images = torch.rand(2, 3, encoder.input_size, encoder.input_size, requires_grad=True)
        values = encoder(images)
        assert values.shape == (2, *encoder.shape)
        values[0].square().sum().backward()
        assert images.grad[0].abs().sum() > 0
        assert images.grad[1].abs().sum() == 0

    @pytest.mark.parametrize("kind", SHAPES)
    def test_each_output_has_a_key_of_its_own(self, folders, kind):
        backbone = BackboneParams(name=str(folders[kind]))
        keys = [load_encoder(backbone, output).key for output in OUTPUTS]
        assert len(set(keys)) == len(OUTPUTS)
        assert [load_encoder_with_key(backbone, key).output for key in keys] == list(OUTPUTS)

    def test_a_key_of_another_encoder_is_refused(self, folders):
        key = load(folders["clip"]).key
        with pytest.raises(
            ArtifactError, match=r"another backbone .*Run `kedro run --pipelines=embed`"
        ):
            load_encoder_with_key(BackboneParams(name=str(folders["siglip"])), key)

    def test_the_processors_settings_of_each_kind_are_spelled_out(self, folders):
        settings = {k: processor_settings(BackboneParams(name=str(f))) for k, f in folders.items()}
        assert settings["siglip"] == {
            "backbone": str(folders["siglip"]),
            "revision": None,
            "backend": "SiglipImageProcessor",
            "input_size": 32,
            "resize": {"height": 32, "width": 32},
            "resample": 3,
            "centre_crop": None,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        }
        assert settings["resnet"] == {
            "backbone": str(folders["resnet"]),
            "revision": None,
            "backend": "TimmImageProcessor",
            "input_size": 64,
            "resize": {"shortest_edge": 71},  # floor(64 / 0.9)
            "resample": 3,
            "centre_crop": {"height": 64, "width": 64},
            "mean": [0.48145466, 0.4578275, 0.40821073],
            "std": [0.26862954, 0.26130258, 0.27577711],
        }
        assert json.loads(json.dumps(settings)) == settings

    def test_a_cached_hub_id_of_timm_loads_offline(self, resnet_folder, tmp_path, monkeypatch):
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
        cached = tmp_path / "models--timm--resnet50_clip.openai"
        shutil.copytree(resnet_folder, cached / "snapshots" / ("c" * 40))
        (cached / "refs").mkdir()
        (cached / "refs" / "main").write_text("c" * 40)
        hub = load_encoder(BackboneParams(name="timm/resnet50_clip.openai"), "spatial")
        assert hub.key == load(resnet_folder, "spatial").key


class TestWhatThereIsNot:
    def test_a_clip_without_its_projection_is_pooled_or_spatial(self, clip_folder, tmp_path):
        size = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
        config = CLIPVisionConfig(num_hidden_layers=1, image_size=32, patch_size=8, **size)
        CLIPVisionModel(config).save_pretrained(tmp_path)
        shutil.copy(clip_folder / "preprocessor_config.json", tmp_path)
        with pytest.raises(
            BackboneError, match=r"no projected output\. Choose one of pooled, spatial"
        ):
            load(tmp_path)
        assert load(tmp_path, "pooled").shape == (16,)

    def test_a_siglip_without_its_pool_is_spatial(self, siglip_folder, tmp_path):
        whole = SiglipVisionConfig.from_pretrained(siglip_folder)
        whole.vision_use_head = False
        SiglipVisionModel(whole).save_pretrained(tmp_path)
        shutil.copy(siglip_folder / "preprocessor_config.json", tmp_path)
        for output in ("projected", "pooled"):
            with pytest.raises(BackboneError, match=rf"no {output} output\. Choose one of spatial"):
                load(tmp_path, output)
        assert load(tmp_path, "spatial").shape == (16, 16)

    def test_an_average_pooled_resnet_has_no_projection(self, save_resnet):
        folder = save_resnet("resnet50_clip_gap.openai", num_classes=0)
        with pytest.raises(
            BackboneError, match=r"no projected output\. Choose one of pooled, spatial"
        ):
            load(folder)
        images = torch.rand(2, 3, 64, 64)
        pooled, spatial = load(folder, "pooled"), load(folder, "spatial")
        torch.testing.assert_close(pooled(images), spatial(images).mean(dim=(2, 3)))
        assert pooled.shape == (128,)

    def test_an_attention_pool_without_its_last_layer_has_no_projection(self, save_resnet):
        folder = save_resnet(num_classes=0)
        with pytest.raises(
            BackboneError, match=r"no projected output\. Choose one of pooled, spatial"
        ):
            load(folder)
        pooled = load(folder, "pooled")
        assert pooled(torch.rand(1, 3, 64, 64)).shape[1:] == pooled.shape


def save_network(architecture: str, folder: Path) -> None:
    torch.manual_seed(0)
    model = timm.create_model(architecture, pretrained=False, num_classes=4)
    save_for_hf(model, folder, safe_serialization=True)


class TestNetworksOfTimm:
    """The small networks that timm tests its own families with, and one whose maps have their channels last."""

    @pytest.mark.parametrize("architecture", [*timm.list_models("test_*"), "swin_s3_tiny_224"])
    def test_one_gives_what_timm_gives(self, architecture, tmp_path, pictures):
        save_network(architecture, tmp_path)
        model = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
        transform = create_transform(**resolve_model_data_config(model))
        pixels = torch.stack([transform(picture) for picture in pictures[:3]])
        with torch.inference_mode():
            _, grids = model.forward_intermediates(pixels, indices=1, norm=True)
            features = model.forward_features(pixels)
            pooled = model.forward_head(features, pre_logits=True)
        encoder = load_encoder(BackboneParams(name=str(tmp_path)))
        assert encoder.output == "pooled"
        prepared = encoder.prepare(pictures[:3])
        mean, std = encoder.mean, encoder.std
        theirs = (pixels * std + mean) * 255
        difference = (prepared - theirs).abs()  # in levels of 255
        assert difference.max() < 2.01
        assert difference.mean() < 0.1
        with torch.inference_mode():
            ours = encoder(theirs / 255)
            places = load(tmp_path, "spatial")(theirs / 255)
        assert ours.shape == (3, *encoder.shape)
        torch.testing.assert_close(ours, pooled, rtol=1e-3, atol=1e-4)
        if features.ndim == 3:
            grid = grids[-1].flatten(2).mT
            assert places.shape == grid.shape
            torch.testing.assert_close(places, grid, rtol=1e-3, atol=1e-4)
        else:
            channels = model.num_features
            assert places.shape[1] == channels
            assert places.shape[2:] == grids[-1].shape[2:]

    @pytest.mark.parametrize(
        "architecture", ["test_efficientnet", "test_convnext", "test_resnet", "test_vit"]
    )
    def test_the_last_two_stages_stand_side_by_side(self, architecture, tmp_path):
        save_network(architecture, tmp_path)
        encoder = load(tmp_path, "attention_inputs")
        images = torch.rand(2, 3, encoder.input_size, encoder.input_size)
        found = encoder(images)
        if architecture == "test_vit":
            torch.testing.assert_close(found, load(tmp_path, "spatial")(images))
            return
        stages = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, features_only=True)
        before, last = stages.eval()((images - encoder.mean) / encoder.std)[-2:]
        assert before.shape[2] == 2 * last.shape[2]
        enlarged = F.interpolate(last, before.shape[2:], mode="bilinear")
        expected = torch.cat([before, enlarged], dim=1)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
        assert encoder.shape == expected.shape[1:]

    @pytest.mark.parametrize("architecture", ["test_efficientnet", "test_vit", "test_convnext"])
    def test_gradients_reach_the_pixels_and_a_map_has_a_layer(self, architecture, tmp_path):
        save_network(architecture, tmp_path)
        encoder = load_encoder(BackboneParams(name=str(tmp_path)))
        images = torch.rand(1, 3, encoder.input_size, encoder.input_size, requires_grad=True)
        seen = []
        if architecture == "test_vit":
            with pytest.raises(ParameterError, match="is a transformer"):
                encoder.cam_layers()[-1]
        else:
            encoder.cam_layers()[-1].register_forward_hook(
                lambda *given: seen.append(given[-1].shape)
            )
        encoder(images)[:, 0].sum().backward()
        assert images.grad is not None
        assert images.grad.abs().sum() > 0
        assert all(len(shape) == 4 for shape in seen)
        assert len(seen) == (architecture != "test_vit")


class TestDamage:
    @pytest.fixture
    def folder(self, resnet_folder, tmp_path) -> Path:
        return Path(shutil.copytree(resnet_folder, tmp_path / "resnet"))

    def edit(self, folder: Path, **changes) -> None:
        path = folder / "config.json"
        config = json.loads(path.read_text())
        config["pretrained_cfg"] |= changes.pop("pretrained_cfg", {})
        path.write_text(json.dumps(config | changes))

    def test_a_model_of_timm_without_the_outputs_of_a_backbone(self, tmp_path, monkeypatch):
        save_network("test_vit", tmp_path)
        monkeypatch.delattr(timm.models.VisionTransformer, "forward_head")
        with pytest.raises(BackboneError, match=r"VisionTransformer.*not give the outputs of a"):
            load(tmp_path, "pooled")

    @pytest.mark.parametrize("model_type", ["bert", "timm_wrapper", ["clip"], 3])
    def test_another_model_of_transformers(self, folder, model_type):
        self.edit(folder, model_type=model_type)
        with pytest.raises(BackboneError, match="neither a CLIP, SigLIP"):
            load(folder)

    @pytest.mark.parametrize(
        "changes",
        [
            {"architecture": "resnet50_klip"},
            {"architecture": "resnet101_clip"},
            {"model_args": {"width_factor": 0.125}},
            {"pretrained_cfg": {"crop_mode": "squash"}},
            {"pretrained_cfg": {"interpolation": "random"}},
            {"model_args": {"width_factor": 0.0625, "img_size": [64, 96]}},
        ],
    )
    def test_a_configuration_that_does_not_fit(self, folder, changes):
        self.edit(folder, **changes)
        with pytest.raises(
            BackboneError, match=r"cannot be loaded|no readable config\.json|crops to"
        ):
            load(folder)

    def test_weights_that_are_cut_short(self, folder):
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(BackboneError, match="cannot be loaded as a model of timm"):
            load(folder)

    def test_a_pickle_beside_other_safetensors_is_not_read(self, folder):
        path = folder / "model.safetensors"
        torch.save(load_file(path), folder / "pytorch_model.bin")
        path.rename(folder / "adapter.safetensors")
        with pytest.raises(BackboneError, match=r"no model\.safetensors"):
            load(folder)

    def test_a_siglip_that_lacks_weights(self, siglip_folder, tmp_path):
        folder = Path(shutil.copytree(siglip_folder, tmp_path / "siglip"))
        config = json.loads((folder / "config.json").read_text())
        config["vision_config"]["num_hidden_layers"] = 3
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(BackboneError, match=r"lacks weights \(encoder.layers.2"):
            load(folder)
