"""ResNets in any width, against torchvision's own."""

import pytest
import torch
from torchvision.models import get_model

from glasshead.errors import ParameterError
from glasshead.models.classifier import Classifier
from glasshead.models.pretrained import PretrainedParams, build_transfer
from glasshead.models.resnet import SHAPES, ScaledResNet
from glasshead.models.transfer import TransferClassifier

CLASSES = ("bird", "cat", "ship")


def build(**changes: object) -> TransferClassifier:
    params = {"architecture": "resnet18", "width": 0.25, "pretrained": "none", "backbone_size": 64}
    return build_transfer(PretrainedParams(**params | changes), CLASSES, 32, {}, seed=1)


@pytest.mark.parametrize("name", SHAPES)
class TestScaledResNet:
    def test_at_width_one_it_is_torchvisions(self, name):
        theirs = get_model(name, weights=None, num_classes=3).eval()
        ours = ScaledResNet(name, 3, 1.0).eval()
        ours.load_state_dict(theirs.state_dict())
        images = torch.rand(2, 3, 64, 64)
        with torch.no_grad():
            assert torch.equal(ours(images), theirs(images))

    def test_every_channel_count_follows_the_width(self, name):
        """All of torchvision's counts are multiples of 64, so that a quarter of them is exact."""
        theirs = get_model(name, weights=None, num_classes=3).state_dict()
        for key, value in ScaledResNet(name, 3, 0.25).state_dict().items():
            expected = [size // 4 if size >= 64 else size for size in theirs[key].shape]
            assert list(value.shape) == expected, key

    def test_initial_weights_have_the_spread_of_he_et_al_2015(self, name):
        """arXiv:1502.01852, equation 14: the variance is 2 over the weights that one output feeds."""
        torch.manual_seed(4)
        network = ScaledResNet(name, 3, 0.5)
        weight = network.layer4[1].conv2.weight
        fan_out = weight.shape[0] * weight.shape[2] * weight.shape[3]
        assert weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.02)


class TestAsClassifier:
    def test_its_folder_gives_it_back(self, tmp_path):
        classifier = build().eval()
        classifier.save(tmp_path / "narrow")
        again = Classifier.load(tmp_path / "narrow")
        images = torch.rand(2, 3, 32, 32)
        assert isinstance(again, TransferClassifier)
        assert again.width == 0.25
        assert torch.equal(again(images), classifier(images))

    def test_its_stages_are_those_of_the_wide_one(self):
        assert build().stages() == build(width=1.0).stages()

    def test_a_parent_of_another_width_is_refused(self, tmp_path):
        build().save(tmp_path / "parent")
        with pytest.raises(
            ParameterError, match=r"width 0\.25, but a backbone of resnet18, width 1 "
        ):
            build(pretrained=str(tmp_path / "parent"), width=1.0)

    def test_imagenet_has_one_width(self):
        with pytest.raises(ParameterError, match=r"width 1, not 0\.25"):
            build(pretrained="imagenet")

    def test_other_networks_have_one_width(self):
        with pytest.raises(ParameterError, match="has only one width"):
            build(architecture="mobilenet_v3_small")
