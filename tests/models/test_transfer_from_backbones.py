"""Transfer from backbones of timm: their weights, stages, head, map and folder."""

from pathlib import Path

import pytest
import timm
import torch
from timm.models._hub import save_for_hf
from torchvision.models import get_model

from glasshead.errors import BackboneError, ParameterError
from glasshead.models.backbone import BackboneParams
from glasshead.models.clip import load_encoder
from glasshead.models.pretrained import PretrainedParams, build_transfer
from glasshead.models.stages import STAGES, timm_anatomy
from glasshead.models.transfer import TransferClassifier
from glasshead.training.phases import StrategyParams, build_phases

CLASSES = ("bird", "cat", "ship")
# convolutional, with four and with five feature maps; a transformer
NETWORKS = ("test_efficientnet", "test_resnet", "test_convnext", "test_vit")


def saved(architecture: str, folder: Path) -> Path:
    torch.manual_seed(0)
    save_for_hf(timm.create_model(architecture, num_classes=7), folder, safe_serialization=True)
    return folder


def built(folder: Path, **changes) -> TransferClassifier:
    """Return a classifier whose head is as if trained; before, it is zero."""
    params = PretrainedParams(pretrained=str(folder), **changes)
    classifier = build_transfer(params, CLASSES, 64, {}, seed=5).eval()
    assert not any(parameter.any() for parameter in classifier.head.parameters())
    torch.nn.init.normal_(classifier.head.weight)
    return classifier


@pytest.mark.parametrize("name", NETWORKS)
class TestNetwork:
    def test_it_computes_what_the_backbone_computes_up_to_its_head(self, name, tmp_path):
        folder = saved(name, tmp_path / "backbone")
        classifier, encoder = built(folder), load_encoder(BackboneParams(name=str(folder)))
        size = encoder.input_size
        assert classifier.backbone_size == size
        images = torch.rand(2, 3, size, size)
        with torch.inference_mode():
            vectors = encoder(images)
            torch.testing.assert_close(classifier.features(images), vectors, rtol=1e-4, atol=1e-5)
            logits = classifier.head(vectors)
            torch.testing.assert_close(classifier(images), logits, rtol=1e-4, atol=1e-5)

    def test_stages_divide_all_parameters_in_order(self, name, tmp_path):
        classifier = built(saved(name, tmp_path / "backbone"))
        stages = classifier.stages()
        assert tuple(stages) == STAGES
        assert all(stages.values())
        parts = [name for part in stages.values() for name in part] + [*classifier.head_names()]
        everything = [name for name, _ in classifier.named_parameters()]
        assert sorted(parts) == sorted(everything)
        body = [name for name in everything if name not in classifier.head_names()]
        assert parts[: len(body)] == body
        build_phases(StrategyParams(strategy="last_2"), 4, stages, classifier.head_names())

    def test_smaller_crops_are_read_smaller_where_the_network_can(self, name, tmp_path):
        classifier = built(saved(name, tmp_path / "backbone"))
        sides = []
        classifier.network.register_forward_pre_hook(
            lambda _, inputs: sides.append(inputs[0].shape[-1])
        )
        for side in (64, 48):
            classifier(torch.rand(1, 3, side, side))
        whole = classifier.backbone_size
        assert sides == [whole, whole if name == "test_vit" else whole * 3 // 4]

    def test_it_comes_back_from_its_folder(self, name, tmp_path):
        classifier = built(saved(name, tmp_path / "backbone"))
        classifier.save(tmp_path / "saved")
        again = TransferClassifier.load(tmp_path / "saved")
        images = torch.rand(2, 3, 64, 64)
        with torch.inference_mode():
            torch.testing.assert_close(again(images), classifier(images), rtol=0, atol=0)
        assert again.describe() == classifier.describe()

    def test_a_convolutional_network_has_a_map(self, name, tmp_path):
        classifier = built(saved(name, tmp_path / "backbone"))
        if name == "test_vit":
            with pytest.raises(ParameterError, match="no convolutional map"):
                classifier.cam_layers()[-1]
            return
        seen = []
        classifier.cam_layers()[-1].register_forward_hook(
            lambda *given: seen.append(given[-1].ndim)
        )
        classifier(torch.rand(1, 3, 64, 64))
        assert seen == [4]


def test_every_stage_of_lite0_has_its_reduction():
    """The maps after stages 1 to 4 have 1/4, 1/8, 1/16 and 1/32 of the input's side."""
    network = timm.create_model("tf_efficientnet_lite0", num_classes=3)
    anatomy = timm_anatomy(network)
    last = {stage: names[-1].split(".")[:2] for stage, names in anatomy.stages.items()}
    assert last["stem"] == ["blocks", "0"]
    assert [info["reduction"] for info in network.feature_info] == [2, 4, 8, 16, 32]
    assert (last["stage1"], last["stage2"]) == (["blocks", "1"], ["blocks", "2"])
    assert last["stage3"] == ["blocks", "4"]
    assert anatomy.stages["stage4"][-1].startswith("bn2")
    assert anatomy.head == "classifier"


def test_a_network_of_torchvision_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    torch.manual_seed(1)
    network = get_model("resnet18")
    monkeypatch.setattr(
        "torchvision.models.ResNet18_Weights.get_state_dict",
        lambda self, **options: network.state_dict(),
    )
    params = PretrainedParams(pretrained="torchvision:resnet18", width=0.25)  # which is ignored
    classifier = build_transfer(params, CLASSES, 64, {}, seed=5)
    assert classifier.architecture == "resnet18"
    torch.testing.assert_close(classifier.network.conv1.weight, network.conv1.weight)


def test_a_backbone_that_cannot_be_trained_on_is_refused():
    with pytest.raises(BackboneError, match="nano-clip cannot be trained on"):
        build_transfer(PretrainedParams(pretrained="nano-clip"), CLASSES, 32, {}, seed=0)


@pytest.mark.parametrize("name", ["hrnet_w18_small", "twins_svt_small", "coat_mini"])
def test_a_network_whose_stages_are_unknown_is_refused(name):
    with pytest.raises(ParameterError, match="does not say where its four stages"):
        timm_anatomy(timm.create_model(name, num_classes=3))


def test_a_transformer_of_another_size_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="reads images of 160 pixels a side, not of 64"):
        built(saved("test_vit", tmp_path), backbone_size=64)
