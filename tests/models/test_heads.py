"""Glass heads: closed forms of the bottleneck, the Classifier's contract, its folder, and what it refuses."""

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from glasshead.errors import ArtifactError, BackboneError
from glasshead.images.captions import all_words
from glasshead.models.backbone import BackboneParams
from glasshead.models.classifier import Classifier, Concept, as_images
from glasshead.models.clip import load_encoder
from glasshead.models.heads import Bottleneck, GlassHeads
from glasshead.models.nano_clip import NanoClip, NanoClipParams
from glasshead.models.towers import Output

CLASSES = ("bird", "cat", "ship")
CONCEPTS = (Concept("wings", ("yes", "no")), Concept("legs", ("none", "two", "four")))
PROVENANCE = {"data": "0123", "seed": 7}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("backbone") / "nano"
    torch.manual_seed(0)
    params = NanoClipParams(width=16, layers=1, heads=2, text_width=16, projection=8)
    NanoClip.build(params, all_words()).save(folder)
    return folder


def build(backbone: Path, output: Output = "projected") -> GlassHeads:
    torch.manual_seed(1)
    encoder = load_encoder(BackboneParams(name=str(backbone)), output)
    size = encoder.dimension
    bottleneck = Bottleneck(size, (2, 3), len(CLASSES), hidden=4, meta_hidden=5)
    bottleneck.standardise_by(torch.randn(20, size))
    return GlassHeads(encoder, bottleneck, CLASSES, CONCEPTS, PROVENANCE).eval()


@pytest.fixture
def classifier(backbone) -> GlassHeads:
    return build(backbone)


@pytest.fixture
def saved(classifier, tmp_path) -> Path:
    classifier.with_temperatures({"final": 2.5, "wings": 0.5, "legs": 3.0}).save(tmp_path / "heads")
    return tmp_path / "heads"


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def describe(folder: Path, **changes) -> None:
    path = folder / "classifier.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


class TestBottleneck:
    def test_concepts_are_a_softmax_a_subtask(self):
        bottleneck = Bottleneck(8, (2, 3), 4, 4, 4)
        logits = torch.randn(6, 5)
        concepts = bottleneck.to_probabilities(logits)
        expected = torch.cat([logits[:, :2].softmax(1), logits[:, 2:].softmax(1)], dim=1)
        torch.testing.assert_close(concepts, expected)

    def test_hard_concepts_are_one_hot_codes_of_the_largest(self):
        soft = torch.tensor([[0.4, 0.6, 0.2, 0.5, 0.3], [0.9, 0.1, 0.1, 0.1, 0.8]])
        hard = Bottleneck(8, (2, 3), 4, 4, 4).harden(soft)
        assert hard.tolist() == [[0, 1, 0, 1, 0], [1, 0, 0, 0, 1]]
        assert hard.dtype == soft.dtype

    def test_it_reads_standardised_embeddings(self):
        torch.manual_seed(0)
        bottleneck, embeddings = Bottleneck(3, (2,), 2, 4, 4), torch.randn(50, 3)
        plain = bottleneck.concept_logits(embeddings)
        moved = embeddings * torch.tensor([10.0, 0.1, 3.0]) + 5
        bottleneck.standardise_by(moved)
        standard = (moved - moved.mean(0)) / moved.std(0, correction=0)
        torch.testing.assert_close(bottleneck.heads[0](standard), bottleneck.concept_logits(moved))
        assert not torch.allclose(plain, bottleneck.concept_logits(embeddings))

    def test_a_constant_column_does_not_divide_by_zero(self):
        bottleneck = Bottleneck(3, (2,), 2, 4, 4)
        bottleneck.standardise_by(torch.ones(5, 3))
        assert bottleneck(torch.ones(2, 3)).isfinite().all()

    def test_the_meta_learner_reads_concepts_alone(self):
        """Embeddings that give the same concepts give the same logits: heads of zero weights answer alike."""
        bottleneck = Bottleneck(8, (2, 3), 4, 4, 4)
        for head in bottleneck.heads:
            torch.nn.init.zeros_(head[-1].weight)
        logits = bottleneck(torch.randn(5, 8))
        torch.testing.assert_close(logits, logits[:1].expand(5, -1))


class TestContract:
    def test_forward_is_the_chain_of_its_parts(self, classifier, images):
        embeddings = classifier.embed(images)
        concepts = classifier.concept_probabilities(embeddings)
        assert concepts.shape == (4, 5)
        logits = classifier.logits_from_concepts(concepts)
        torch.testing.assert_close(classifier(images), logits)
        together = classifier.logits_and_concepts(images)
        own = classifier.bottleneck.concept_logits(embeddings)
        torch.testing.assert_close(together, (logits, own))
        torch.testing.assert_close(classifier.bottleneck(embeddings), logits)
        assert classifier(images).shape == (4, len(CLASSES))

    def test_temperature_acts_in_probabilities_only(self, classifier, images):
        sharp = classifier.with_temperatures({"final": 0.25, "wings": 1.0, "legs": 1.0})
        torch.testing.assert_close(sharp(images), classifier(images))
        expected = (classifier(images) / 0.25).softmax(dim=1)
        torch.testing.assert_close(sharp.probabilities(images), expected)
        torch.testing.assert_close(
            classifier.probabilities(images), classifier(images).softmax(dim=1)
        )

    def test_new_temperatures_leave_the_old_classifier_alone(self, classifier):
        other = classifier.with_temperatures({"final": 2.0, "wings": 3.0, "legs": 4.0})
        assert classifier.temperatures == {"final": 1.0, "wings": 1.0, "legs": 1.0}
        assert other.temperatures == {"final": 2.0, "wings": 3.0, "legs": 4.0}

    def test_gradients_reach_the_pixels_from_every_logit(self, classifier, images):
        for index in range(len(CLASSES)):
            pixels = images.clone().requires_grad_()
            classifier(pixels)[:, index].sum().backward()
            assert (pixels.grad.abs().amax(dim=(1, 2, 3)) > 0).all()

    def test_only_the_bottleneck_trains(self, classifier):
        trainable = {name for name, p in classifier.named_parameters() if p.requires_grad}
        assert trainable == {
            f"bottleneck.{name}" for name, _ in classifier.bottleneck.named_parameters()
        }

    def test_images_of_any_size_are_prepared(self, classifier):
        prepared = classifier.prepare([Image.new("RGB", (50, 70), "white")] * 2)
        assert prepared.shape == (2, 3, classifier.input_size, classifier.input_size)
        assert as_images(prepared).unique().tolist() == [1.0]


class TestFolder:
    def test_it_comes_back_as_it_was(self, classifier, saved, images):
        again = Classifier.load(saved)
        assert isinstance(again, GlassHeads)
        assert torch.equal(again(images), classifier(images))
        torch.testing.assert_close(
            again.probabilities(images), (classifier(images) / 2.5).softmax(dim=1)
        )
        assert (again.classes, again.concepts) == (CLASSES, CONCEPTS)
        assert again.temperatures == {"final": 2.5, "wings": 0.5, "legs": 3.0}
        assert again.provenance == PROVENANCE
        assert again.input_size == 32
        assert not again.training

    def test_it_reads_the_output_it_was_trained_on(self, backbone, tmp_path, images):
        classifier = build(backbone, "pooled")
        classifier.save(tmp_path)
        again = Classifier.load(tmp_path)
        assert isinstance(again, GlassHeads)
        assert again.encoder.output == "pooled"
        assert torch.equal(again(images), classifier(images))

    def test_one_that_does_not_name_its_output_reads_the_projected_one(self, saved, images):
        settings = json.loads((saved / "classifier.json").read_text())["settings"]
        before = Classifier.load(saved)(images)
        assert settings.pop("output") == "projected"
        describe(saved, settings=settings)
        assert torch.equal(Classifier.load(saved)(images), before)

    def test_its_threshold_comes_back(self, classifier, saved):
        promise = {"threshold": 0.9, "target_error": 0.02, "certainty": 0.95, "rows": 500}
        classifier.with_abstention(promise).save(saved)
        assert Classifier.load(saved).abstention == promise
        assert classifier.abstention is None

    def test_calibration_is_no_other_training_but_other_weights_or_data_are(self, classifier):
        calibrated = classifier.with_temperatures({"final": 2.0, "wings": 3.0, "legs": 4.0})
        assert calibrated.training_id() == classifier.training_id()
        before = classifier.training_id()
        elsewhere = copy.copy(classifier)
        elsewhere.provenance = classifier.provenance | {"data": "other"}
        assert elsewhere.training_id() != before
        changed = copy.deepcopy(classifier)
        with torch.no_grad():
            next(changed.bottleneck.parameters()).add_(1)
        assert changed.training_id() != before

    def test_it_holds_two_files_and_no_backbone(self, classifier, saved, backbone):
        assert sorted(p.name for p in saved.iterdir()) == ["classifier.json", "model.safetensors"]
        weights = load_file(saved / "model.safetensors")
        assert weights.keys() == {f"bottleneck.{n}" for n in classifier.bottleneck.state_dict()}
        described = json.loads((saved / "classifier.json").read_text())
        assert described["settings"]["backbone"] == {
            "name": str(backbone),
            "revision": None,
            "weights": None,
        }
        assert described["temperatures"]["final"] == 2.5

    def test_saving_twice_gives_the_same_bytes(self, saved, tmp_path):
        Classifier.load(saved).save(tmp_path / "again")
        for name in ("classifier.json", "model.safetensors"):
            assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes()

    @pytest.mark.parametrize("name", ["classifier.json", "model.safetensors"])
    def test_a_missing_file_is_named(self, saved, name):
        (saved / name).unlink()
        with pytest.raises(ArtifactError, match=f"holds no Classifier.*{name}"):
            Classifier.load(saved)

    def test_a_missing_folder_is_named(self, tmp_path):
        with pytest.raises(ArtifactError, match="nowhere holds no Classifier"):
            Classifier.load(tmp_path / "nowhere")

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", "\udcff", '{"kind": "heads"}'])
    def test_a_damaged_description(self, saved, text):
        (saved / "classifier.json").write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(ArtifactError, match="damaged"):
            Classifier.load(saved)

    @pytest.mark.parametrize(
        "changes",
        [
            {"kind": "forest"},
            {"settings": {}},
            {"settings": None},
            {"concepts": [["wings"]]},
            {"temperatures": None},
        ],
    )
    def test_a_description_that_makes_no_sense(self, saved, changes):
        describe(saved, **changes)
        with pytest.raises(ArtifactError, match="damaged"):
            Classifier.load(saved)

    def test_a_format_of_another_version_says_what_to_do(self, saved):
        describe(saved, format=1)
        with pytest.raises(ArtifactError, match="has format 1; this version of glasshead reads 2"):
            Classifier.load(saved)

    @pytest.mark.parametrize("name", ["weights_sha256", "temperatures", "abstention"])
    def test_a_description_that_lacks_something(self, saved, name):
        path = saved / "classifier.json"
        described = json.loads(path.read_text())
        del described[name]
        path.write_text(json.dumps(described))
        with pytest.raises(ArtifactError, match=name):
            Classifier.load(saved)

    def test_one_flipped_byte_in_the_weights(self, saved):
        path = saved / "model.safetensors"
        data = bytearray(path.read_bytes())
        data[-5] ^= 1
        path.write_bytes(data)
        with pytest.raises(ArtifactError, match="is not the file that"):
            Classifier.load(saved)

    def test_weights_of_another_shape(self, saved):
        settings = json.loads((saved / "classifier.json").read_text())["settings"]
        for change in ({"hidden": 9}, {"widths": [2, 2]}, {"widths": [2, 3, 2]}):
            describe(saved, settings=settings | {"bottleneck": settings["bottleneck"] | change})
            with pytest.raises(ArtifactError, match=r"damaged|do not fit"):
                Classifier.load(saved)

    def test_another_encoder_under_the_backbones_name_are_refused(self, backbone, tmp_path):
        copied = Path(shutil.copytree(backbone, tmp_path / "nano"))
        build(copied).save(tmp_path / "heads")
        Classifier.load(tmp_path / "heads")
        weights = load_file(copied / "model.safetensors")
        weights["visual_projection.weight"] += 0.1
        save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(
            BackboneError, match=r"has changed since these heads .*Train the heads again"
        ):
            Classifier.load(tmp_path / "heads")

    def test_a_backbone_that_is_gone_is_named(self, backbone, tmp_path):
        copied = Path(shutil.copytree(backbone, tmp_path / "nano"))
        build(copied).save(tmp_path / "heads")
        shutil.rmtree(copied)
        with pytest.raises(BackboneError, match="There is no backbone folder"):
            Classifier.load(tmp_path / "heads")


def test_pixels_become_images():
    pixels = torch.tensor(np.array([0, 51, 255], dtype=np.uint8)).view(1, 3, 1, 1)
    assert as_images(pixels).flatten().tolist() == pytest.approx([0, 0.2, 1])
