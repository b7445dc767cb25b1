"""The frozen encoder: found by name, equal to transformers' own path, keyed by all that decides an embedding."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
)

from glasshead.errors import BackboneError, ParameterError
from glasshead.images.captions import all_words
from glasshead.images.scenes import CLASSES, ScenesParams, generate_scenes
from glasshead.images.table import ImageTable
from glasshead.models import backbone, clip
from glasshead.models.backbone import BackboneParams, resolve_backbone, weights_hash
from glasshead.models.clip import load_encoder, processor_settings
from glasshead.models.nano_clip import CONTEXT, NanoClip, NanoClipParams
from glasshead.models.probe import fit_linear_probe

TINY = NanoClipParams(width=16, layers=1, heads=2, text_width=16, projection=8)


def pictures(*sizes):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (h // 4, w // 4, 3), dtype=np.uint8) for w, h in sizes]
    return [Image.fromarray(n).resize(s, 3) for n, s in zip(noise, sizes, strict=True)]


def edit(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def nano() -> NanoClip:
    torch.manual_seed(0)
    return NanoClip.build(TINY, all_words())


@pytest.fixture(scope="module")
def shared(nano, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shared") / "nano"
    nano.save(folder)
    return folder


@pytest.fixture
def folder(shared, tmp_path) -> Path:
    """Return a copy of the model's folder that a test may damage."""
    return Path(shutil.copytree(shared, tmp_path / "nano"))


@pytest.fixture
def offline(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


def load(folder):
    return load_encoder(BackboneParams(name=str(folder)))


@torch.inference_mode()
def agreement(folder: Path, images: list[Image.Image]) -> torch.Tensor:
    """Return the cosine of our embeddings to those of the whole model on the processor's own output, row by row."""
    encoder = load(folder)
    ours = encoder(encoder.prepare(images).float() / 255)
    inputs = CLIPImageProcessor.from_pretrained(folder)(images, return_tensors="pt")
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    theirs = model.get_image_features(**inputs).pooler_output
    torch.testing.assert_close(ours.norm(dim=1), theirs.norm(dim=1), rtol=1e-3, atol=0)
    return torch.cosine_similarity(ours, theirs)


@pytest.mark.parametrize("name", ["nano-clip", "folder"])
def test_a_revision_is_no_provenance_of_what_lies_here(name, shared):
    given = BackboneParams(name=str(shared) if name == "folder" else name, revision="c237dc")
    assert load_encoder(given).backbone.revision is None
    assert processor_settings(given)["revision"] is None


class TestEquality:
    def test_images_of_any_size_embed_as_transformers_embeds_them(self, shared):
        sizes = [(32, 32), (33, 32), (64, 64), (40, 100), (300, 200), (16, 16), (20, 24)]
        assert agreement(shared, pictures(*sizes)).min() >= 0.9999

    def test_it_is_exact_at_the_input_size(self, shared):
        assert agreement(shared, pictures((32, 32), (32, 32))).min() >= 1 - 1e-6

    def test_a_model_of_openais_geometry_saved_by_its_processor_works(self, nano, tmp_path):
        torch.manual_seed(0)
        small = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2}
        vision = {"image_size": 224, "patch_size": 32, "num_hidden_layers": 1} | small
        text = {"num_hidden_layers": 1, "vocab_size": 100} | small
        config = CLIPConfig(vision_config=vision, text_config=text, projection_dim=512)
        CLIPModel(config).save_pretrained(tmp_path)
        processor = CLIPProcessor(image_processor=CLIPImageProcessor(), tokenizer=nano.tokenizer)
        processor.save_pretrained(tmp_path)
        encoder = load(tmp_path)
        assert (encoder.input_size, encoder.dimension) == (224, 512)
        assert agreement(tmp_path, pictures((32, 32), (224, 224), (500, 375))).min() >= 0.9999

    def test_the_encoder_is_frozen_but_gradients_reach_the_pixels(self, shared):
        encoder = load(shared)
        assert not encoder.training
        assert not any(parameter.requires_grad for parameter in encoder.parameters())
        images = torch.rand(2, 3, 32, 32, requires_grad=True)
        encoder(images)[0].sum().backward()
        assert images.grad[0].abs().sum() > 0
        assert images.grad[1].abs().sum() == 0

    def test_rows_do_not_depend_on_their_batch(self, shared):
        encoder, images = load(shared), torch.rand(4, 3, 32, 32)
        with torch.inference_mode():
            torch.testing.assert_close(encoder(images)[2:3], encoder(images[2:3]))

    @pytest.mark.parametrize(
        "size", [{"shortest_edge": 32}, {"shortest_edge": 40}, {"height": 32, "width": 32}]
    )
    def test_images_of_the_input_size_are_what_the_processor_makes_of_them(
        self, nano, tmp_path, size
    ):
        nano.save(tmp_path)
        edit(tmp_path / "preprocessor_config.json", lambda config: config.update(size=size))
        encoder, images = load(tmp_path), pictures((32, 32), (32, 32))
        theirs = CLIPImageProcessor.from_pretrained(tmp_path)
        expected = theirs(images, do_rescale=False, do_normalize=False)["pixel_values"]
        np.testing.assert_array_equal(encoder.prepare(images).numpy(), np.stack(expected).round())

    def test_prepared_pixels_are_bytes(self, shared):
        prepared = load(shared).prepare(pictures((32, 32), (70, 50)))
        assert prepared.dtype == torch.uint8
        assert prepared.shape == (2, 3, 32, 32)
        expected = np.asarray(pictures((32, 32))[0]).transpose(2, 0, 1)
        np.testing.assert_array_equal(prepared[0].numpy(), expected)


class TestFinding:
    def test_a_shipped_name_is_a_folder_of_the_package(self, shared, tmp_path, monkeypatch):
        shutil.copytree(shared, tmp_path / "assets" / "tiny-clip")
        monkeypatch.setattr(backbone.resources, "files", lambda package: tmp_path)
        assert resolve_backbone(BackboneParams(name="tiny-clip")) == tmp_path / "assets/tiny-clip"
        assert load("tiny-clip").dimension == 8

    @pytest.mark.parametrize("name", ["/no/such/folder", "./none", "~/none", "none", "a/b/c"])
    def test_a_missing_folder_is_named(self, name):
        with pytest.raises(BackboneError, match=f"There is no backbone folder '{name}'"):
            resolve_backbone(BackboneParams(name=name))

    def test_an_unknown_hub_id_offline_fails_at_once_and_says_what_to_do(self, offline):
        wanted = BackboneParams(name="nobody/clip", revision="v1")
        with pytest.raises(
            BackboneError, match=r"'nobody/clip' \(revision v1\).*HF_HOME.*a folder.*HF_HUB_OFFLINE"
        ):
            load_encoder(wanted)

    def test_a_cached_hub_id_loads_offline(self, shared, tmp_path, offline):
        commit = "c" * 40
        cached = tmp_path / "cache" / "models--somebody--clip"
        shutil.copytree(shared, cached / "snapshots" / commit)
        (cached / "refs").mkdir()
        (cached / "refs" / "main").write_text(commit)
        for revision in (None, commit):
            backbone = BackboneParams(name="somebody/clip", revision=revision)
            assert load_encoder(backbone).key == load(shared).key

    def test_a_folder_without_weights_or_configuration_is_refused(self, folder):
        (folder / "config.json").rename(folder / "other")
        with pytest.raises(BackboneError, match=r"no configuration \(config.json\)"):
            load(folder)
        (folder / "other").rename(folder / "config.json")
        (folder / "model.safetensors").unlink()
        with pytest.raises(BackboneError, match=r"no safetensors weights.*save_pretrained"):
            load(folder)

    def test_pickled_weights_alone_are_refused_unread(self, nano, folder):
        (folder / "model.safetensors").unlink()
        torch.save(nano.model.state_dict(), folder / "pytorch_model.bin")
        with pytest.raises(BackboneError, match="pickled weights are refused"):
            load(folder)

    def test_pickled_weights_beside_other_safetensors_are_not_read(self, nano, folder):
        (folder / "model.safetensors").rename(folder / "adapter.safetensors")
        torch.save(nano.model.state_dict(), folder / "pytorch_model.bin")
        with pytest.raises(BackboneError, match="cannot be loaded"):
            load(folder)

    def test_a_mistyped_parameter_is_refused(self):
        with pytest.raises(ValueError, match="revison"):
            BackboneParams(name="nano-clip", revison="main")


class TestDamage:
    @pytest.mark.parametrize("fraction", [0.0, 0.01, 0.5, 0.99])
    def test_truncated_weights(self, folder, fraction):
        path = folder / "model.safetensors"
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * fraction)])
        with pytest.raises(BackboneError, match="cannot be loaded"):
            load(folder)

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
    def test_a_configuration_that_is_none(self, folder, text):
        (folder / "config.json").write_text(text)
        with pytest.raises(BackboneError, match="cannot be loaded"):
            load(folder)

    @pytest.mark.parametrize(
        "change",
        [
            {"hidden_size": 32},
            {"hidden_size": "wide"},
            {"num_attention_heads": 3},
            {"image_size": 64},
        ],
    )
    def test_a_configuration_that_does_not_fit_the_weights(self, folder, change):
        edit(folder / "config.json", lambda content: content["vision_config"].update(change))
        with pytest.raises(BackboneError, match="cannot be loaded"):
            load(folder)

    def test_missing_and_broken_processor_settings(self, folder):
        path = folder / "preprocessor_config.json"
        path.write_text("{")
        with pytest.raises(BackboneError, match="no readable preprocessor_config"):
            load(folder)
        path.unlink()
        with pytest.raises(BackboneError, match="no readable preprocessor_config"):
            processor_settings(BackboneParams(name=str(folder)))

    @pytest.mark.parametrize(
        "change",
        [
            {"crop_size": {"height": 16, "width": 32}},
            {"crop_size": {"height": 16, "width": 16}},
            {"do_center_crop": False},
        ],
    )
    def test_a_processor_that_does_not_give_the_models_input(self, folder, change):
        edit(folder / "preprocessor_config.json", lambda content: content.update(change))
        with pytest.raises(BackboneError, match="crops to"):
            load(folder)

    def test_a_model_that_is_no_clip(self, folder):
        size = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
        bert = BertModel(BertConfig(num_hidden_layers=1, vocab_size=30, **size))
        bert.save_pretrained(folder)
        with pytest.raises(BackboneError, match="cannot be loaded"):
            load(folder)

    def test_a_vision_tower_without_its_projection(self, folder):
        size = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
        config = CLIPVisionConfig(num_hidden_layers=1, image_size=32, patch_size=4, **size)
        CLIPVisionModel(config).save_pretrained(folder)
        with pytest.raises(
            BackboneError, match=r"no projected output\. Choose one of pooled, spatial"
        ):
            load_encoder(BackboneParams(name=str(folder)), "projected")
        assert load(folder).output == "pooled"


class TestKey:
    def test_one_folder_has_one_key_wherever_it_lies(self, shared, folder):
        assert load(shared).key == load(shared).key == load(folder).key

    def test_other_weights(self, shared, folder):
        state = CLIPModel.from_pretrained(folder)
        with torch.no_grad():
            state.visual_projection.weight[0, 0] += 1e-6
        state.save_pretrained(folder)
        assert load(shared).key != load(folder).key

    def test_the_same_weights_read_in_another_way(self, shared, folder):
        """Twice the attention heads give other embeddings from the same weights."""
        edit(folder / "config.json", lambda c: c["vision_config"].update(num_attention_heads=4))
        images = torch.rand(1, 3, 32, 32)
        assert not torch.allclose(load(shared)(images), load(folder)(images))
        assert load(shared).key != load(folder).key

    @pytest.mark.parametrize(
        "change",
        [
            {"image_mean": [0.5, 0.5, 0.5]},
            {"image_std": [0.5, 0.5, 0.5]},
            {"resample": 2},
            {"size": {"shortest_edge": 36}},
            {"do_resize": False},
        ],
    )
    def test_another_processor(self, shared, folder, change):
        edit(folder / "preprocessor_config.json", lambda content: content.update(change))
        assert load(shared).key != load(folder).key

    def test_another_code_version(self, shared, monkeypatch):
        before = load(shared).key
        monkeypatch.setattr(clip, "ENCODER_CODE_VERSION", clip.ENCODER_CODE_VERSION + 1)
        assert load(shared).key != before

    def test_another_precision(self, shared):
        encoder = load(shared)
        before = encoder.key
        encoder.vision.half()
        assert encoder.key != before

    def test_the_hash_covers_every_shard(self, folder):
        before = weights_hash(folder)
        (folder / "second.safetensors").write_bytes(b"x")
        assert weights_hash(folder) != before


def test_the_processors_settings_are_spelled_out(shared):
    settings = processor_settings(BackboneParams(name=str(shared)))
    assert settings == {
        "backbone": str(shared),
        "revision": None,
        "backend": "CLIPImageProcessor",
        "input_size": 32,
        "resize": {"shortest_edge": 32},
        "resample": 3,
        "centre_crop": {"height": 32, "width": 32},
        "mean": [0.49, 0.48, 0.45],
        "std": [0.25, 0.25, 0.27],
    }
    assert json.loads(json.dumps(settings)) == settings


class TestNanoClip:
    def test_it_comes_back_as_it_was(self, nano, shared):
        again = NanoClip.load(shared)
        for name, value in nano.model.state_dict().items():
            torch.testing.assert_close(again.model.state_dict()[name], value, rtol=0, atol=0)
        captions = ["a photo of a red truck on a road", "a photo of a cat"]
        assert all(
            torch.equal(again.tokens(captions)[k], v) for k, v in nano.tokens(captions).items()
        )
        assert not again.model.training

    def test_normalise_is_what_the_processor_does(self, nano):
        image = pictures((32, 32))[0]
        expected = nano.processor([image], return_tensors="pt")["pixel_values"]
        scaled = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255
        torch.testing.assert_close(nano.normalise(scaled), expected, rtol=0, atol=1e-5)

    def test_the_tokenizer_knows_every_caption_and_marks_other_words(self, nano):
        captions = all_words()
        ids = nano.tokens(captions)["input_ids"]
        assert ids.shape[1] <= CONTEXT
        assert not (ids == nano.tokenizer.unk_token_id).any()
        assert len(torch.unique(ids, dim=0)) == len(set(captions))
        other = nano.tokens(["A Photo of a zebra"])["input_ids"][0].tolist()
        truck = nano.tokens(["a photo of a truck"])["input_ids"][0].tolist()
        assert other[:-2] == truck[:-2]
        assert other[-2:] == [nano.tokenizer.unk_token_id, nano.tokenizer.eos_token_id]

    def test_a_caption_embeds_alike_whatever_it_is_padded_with(self, nano):
        short = "a photo of a cat"
        longest = "a photo of a small red truck on the water"
        with torch.inference_mode():
            alone, padded = (
                nano.model.eval().get_text_features(**nano.tokens(batch)).pooler_output[0]
                for batch in ([short], [short, longest])
            )
        torch.testing.assert_close(alone, padded, rtol=0, atol=1e-5)

    @pytest.mark.parametrize(
        "wrong", [{"patch_size": 5}, {"heads": 3}, {"text_width": 15}, {"widht": 64}]
    )
    def test_a_shape_that_does_not_fit_is_refused(self, wrong):
        with pytest.raises(ValidationError):
            NanoClipParams(**wrong)

    def test_the_shipped_weights_stay_within_their_budget_and_have_a_card(self):
        folder = resolve_backbone(BackboneParams())
        assert {"README.md", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
        weights = load_file(folder / "model.safetensors")
        assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
        assert sum(tensor.numel() for tensor in weights.values()) <= 2.5e6
        assert (folder / "model.safetensors").stat().st_size <= 10e6

    def test_a_linear_probe_on_the_shipped_weights_finds_scenes_neither_easy_nor_hard(self):
        records = list(generate_scenes(ScenesParams(train=1500, test=500), seed=5))
        images = ImageTable.from_records(records, CLASSES, ("colour", "habitat", "size"))
        encoder = load_encoder(BackboneParams())
        with torch.inference_mode():
            pixels = encoder.prepare([images.pil(row) for row in range(len(images))])
            values = torch.cat([encoder(part.float() / 255) for part in pixels.split(250)]).numpy()
        labels = np.array([CLASSES.index(name) for name in images.frame()["label"]])
        train, validation, test = slice(0, 1200), slice(1200, 1500), slice(1500, 2000)
        probe = fit_linear_probe(
            (values[train], labels[train]), (values[validation], labels[validation]), (0.01, 0.1)
        )
        assert 0.9 < (probe.predict(values[test]) == labels[test]).mean() < 0.99

    def test_the_default_stays_within_its_budget(self):
        model = NanoClip.build(NanoClipParams(), all_words()).model
        count = sum(parameter.numel() for parameter in model.parameters())
        assert count <= 2.5e6
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        assert count * 4 < 10e6  # bytes


class TestLayersForExplanations:
    def test_a_clip_transformer_names_its_layers_and_no_map(self, shared):
        encoder = load_encoder(BackboneParams(name=str(shared)))
        assert encoder.transformer_layers() == list(encoder.vision.layers)
        with pytest.raises(ParameterError, match="no convolutional map"):
            encoder.cam_layers()[-1]

    def test_outputs_that_read_all_tokens_have_no_class_token_to_follow(
        self, shared, siglip_folder
    ):
        spatial = load_encoder(BackboneParams(name=str(shared)), "spatial")
        siglip = load_encoder(BackboneParams(name=str(siglip_folder)))
        assert spatial.transformer_layers() == siglip.transformer_layers() == []

    def test_a_resnet_names_the_stage_that_gives_its_map(self, resnet_folder):
        encoder = load_encoder(BackboneParams(name=str(resnet_folder)))
        shapes = []
        encoder.cam_layers()[-1].register_forward_hook(lambda *seen: shapes.append(seen[-1].shape))
        encoder(torch.rand(2, 3, 64, 64))
        assert shapes == [(2, *load_encoder(encoder.backbone, "spatial").shape)]
        assert encoder.transformer_layers() == []
