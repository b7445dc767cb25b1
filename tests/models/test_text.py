"""The text encoder against transformers' whole models, its key, and backbones that have no text."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel, SiglipModel

from glasshead.errors import BackboneError, ParameterError
from glasshead.models import text
from glasshead.models.backbone import BackboneParams
from glasshead.models.clip import load_encoder
from glasshead.models.text import has_text_tower, load_text_encoder, zero_shot_logits

PROMPTS = ["a photo of a cat", "a photo of a small red truck on a road", "a ship"]


def load(folder):
    return load_text_encoder(BackboneParams(name=str(folder)))


@pytest.fixture
def folder(clip_folder, tmp_path) -> Path:
    return Path(shutil.copytree(clip_folder, tmp_path / "clip"))


class TestAgreement:
    @torch.inference_mode()
    def test_clip_gives_what_transformers_gives(self, clip_folder):
        encoder = load(clip_folder)
        tokens = AutoTokenizer.from_pretrained(clip_folder)(
            PROMPTS, padding=True, return_tensors="pt", return_token_type_ids=False
        )
        model = CLIPModel.from_pretrained(clip_folder).eval()
        expected = model.get_text_features(**tokens).pooler_output
        assert encoder(PROMPTS).dtype == torch.float32
        assert encoder(PROMPTS).shape == (3, encoder.dimension) == (3, 8)
        torch.testing.assert_close(encoder(PROMPTS), expected)

    @torch.inference_mode()
    def test_siglip_gives_what_transformers_gives_for_prompts_padded_to_the_full_length(
        self, siglip_folder
    ):
        encoder = load(siglip_folder)
        tokens = AutoTokenizer.from_pretrained(siglip_folder)(
            PROMPTS, padding="max_length", max_length=16, return_tensors="pt"
        )
        model = SiglipModel.from_pretrained(siglip_folder).eval()
        expected = model.get_text_features(input_ids=tokens["input_ids"]).pooler_output
        assert expected.shape == (3, encoder.dimension)
        torch.testing.assert_close(encoder(PROMPTS), expected)

    @torch.inference_mode()
    def test_zero_shot_logits_are_clips_logits_per_image(self, clip_folder, pictures):
        backbone = BackboneParams(name=str(clip_folder))
        images = CLIPImageProcessor.from_pretrained(clip_folder)(pictures, return_tensors="pt")
        tokens = AutoTokenizer.from_pretrained(clip_folder)(
            PROMPTS, padding=True, return_tensors="pt", return_token_type_ids=False
        )
        model = CLIPModel.from_pretrained(clip_folder).eval()
        expected = model(**images, **tokens).logits_per_image
        encoder = load_encoder(backbone)
        ours = zero_shot_logits(
            encoder(encoder.prepare(pictures).float() / 255),
            load_text_encoder(backbone)(PROMPTS),
            float(model.logit_scale.exp()),
        )
        torch.testing.assert_close(ours, expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_vector_depends_neither_on_its_batch_nor_on_how_many_there_are(
    request, kind, monkeypatch
):
    encoder = load(request.getfixturevalue(f"{kind}_folder"))
    together = encoder(PROMPTS)
    monkeypatch.setattr(text, "BATCH", 2)
    torch.testing.assert_close(encoder(PROMPTS), together)
    torch.testing.assert_close(encoder(PROMPTS[:1]), together[:1])
    assert encoder([]).shape == (0, encoder.dimension)


def test_it_is_frozen(clip_folder):
    encoder = load(clip_folder)
    assert not encoder.training
    assert not encoder(PROMPTS).requires_grad
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_prompt_that_is_too_long_is_named(request, kind):
    encoder = load(request.getfixturevalue(f"{kind}_folder"))
    fits, long = "cat " * 14, "cat " * 14 + "dog"  # and two tokens for start and end
    encoder([fits])
    with pytest.raises(ParameterError, match=f"'{long}' has 17 tokens; the text tower reads 16"):
        encoder(["cat", long])


class TestKey:
    def test_one_folder_has_one_key_wherever_it_lies(self, clip_folder, folder):
        assert load(clip_folder).key == load(folder).key

    def test_it_is_none_of_the_image_encoders(self, clip_folder):
        assert load(clip_folder).key != load_encoder(BackboneParams(name=str(clip_folder))).key

    def test_another_tokenizer(self, clip_folder, folder):
        path = folder / "tokenizer.json"
        content = json.loads(path.read_text())
        words = content["model"]["vocab"]
        words["cat"], words["dog"] = words["dog"], words["cat"]
        path.write_text(json.dumps(content))
        assert load(clip_folder).key != load(folder).key

    def test_other_weights(self, clip_folder, folder):
        model = CLIPModel.from_pretrained(folder)
        with torch.no_grad():
            model.text_projection.weight[0, 0] += 1e-6
        model.save_pretrained(folder)
        assert load(clip_folder).key != load(folder).key

    def test_another_code_version(self, clip_folder, monkeypatch):
        before = load(clip_folder).key
        monkeypatch.setattr(text, "TEXT_CODE_VERSION", text.TEXT_CODE_VERSION + 1)
        assert load(clip_folder).key != before


class TestWithoutText:
    def test_a_resnet_of_timm(self, resnet_folder):
        assert not has_text_tower(BackboneParams(name=str(resnet_folder)))
        with pytest.raises(BackboneError, match="no text tower"):
            load(resnet_folder)

    def test_an_image_tower_alone(self, folder):
        CLIPModel.from_pretrained(folder).vision_model.save_pretrained(folder)
        assert not has_text_tower(BackboneParams(name=str(folder)))
        with pytest.raises(BackboneError, match="no text tower"):
            load(folder)

    def test_no_tokenizer(self, folder):
        """transformers would make one that knows no words."""
        (folder / "tokenizer.json").unlink()
        assert has_text_tower(BackboneParams(name=str(folder)))
        with pytest.raises(BackboneError, match=r"no tokenizer \(tokenizer\.json or"):
            load(folder)

    def test_a_damaged_tokenizer(self, folder):
        (folder / "tokenizer.json").write_text("{")
        with pytest.raises(BackboneError, match=r"tokenizer in .* cannot be loaded"):
            load(folder)
