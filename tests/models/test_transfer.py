"""All of torchvision's networks that a TransferClassifier can be, through one suite: shapes, gradients, folder."""

from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.models import get_model_weights
from torchvision.transforms import InterpolationMode

from glasshead.errors import ArtifactError, ParameterError
from glasshead.models.classifier import Classifier
from glasshead.models.pretrained import PretrainedParams, build_transfer
from glasshead.models.stages import ANATOMIES, Architecture
from glasshead.models.transfer import TransferClassifier
from glasshead.training.phases import Strategy, StrategyParams, build_phases

CLASSES = ("bird", "cat", "ship")
INPUT, BACKBONE = 32, 64
LARGE = ("resnet50", "vit_b_16")
STRATEGIES = [
    (name, strategy)
    for name in ANATOMIES
    for strategy in get_args(Strategy)
    if name not in LARGE or strategy in ("last_2", "full")
]


def build(architecture: Architecture, **changes: object) -> TransferClassifier:
    params = PretrainedParams(
        architecture=architecture,
        **{"pretrained": "none", "backbone_size": BACKBONE} | changes,
    )
    return build_transfer(params, CLASSES, INPUT, {"data": "0123"}, seed=5)


def awake(classifier: TransferClassifier) -> TransferClassifier:
    """Return it in evaluation mode with logits of a usual size, which those of an untrained network are not.

    Batch norms take the statistics of some noise, and the head, zero in a ViT, gets weights.
    """
    torch.manual_seed(3)
    for name in classifier.head_names():
        torch.nn.init.normal_(classifier.get_parameter(name), std=0.1)
    for module in classifier.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        classifier.train()(torch.rand(8, 3, INPUT, INPUT))
    return classifier.eval()


@cache
def shared(architecture: Architecture) -> TransferClassifier:
    """Return a network that no test changes, but for which of its parameters want gradients."""
    return awake(build(architecture))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, INPUT, INPUT, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("architecture", ANATOMIES)
class TestEveryArchitecture:
    def test_images_become_one_logit_a_class(self, architecture, images):
        logits = shared(architecture)(images)
        assert logits.shape == (2, len(CLASSES))
        assert logits.isfinite().all()
        assert (logits[0] - logits[1]).abs().max() > 0.01

    def test_it_resizes_and_normalises_as_its_weights_want(self, architecture, images):
        """torchvision's own preset, set to the size, before the bare network."""
        classifier = shared(architecture)
        preset = get_model_weights(architecture).DEFAULT.transforms(
            crop_size=BACKBONE, resize_size=BACKBONE, interpolation=InterpolationMode.BILINEAR
        )
        expected = classifier.network(preset(images))
        torch.testing.assert_close(classifier(images), expected, rtol=1e-3, atol=1e-4)

    def test_stages_and_head_share_out_all_parameters(self, architecture):
        classifier = shared(architecture)
        names = [name for stage in classifier.stages().values() for name in stage]
        names += classifier.head_names()
        assert sorted(names) == sorted(name for name, _ in classifier.named_parameters())
        assert list(classifier.stages()) == ["stem", "stage1", "stage2", "stage3", "stage4"]
        assert [classifier.get_parameter(name).shape[0] for name in classifier.head_names()] == [
            3,
            3,
        ]

    def test_gradients_reach_the_pixels_through_the_resize(self, architecture, images):
        pixels = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(shared(architecture)(pixels)[:, 0].sum(), pixels)
        assert gradient.shape == images.shape
        assert (gradient != 0).float().mean() > 0.95

    def test_it_comes_back_as_it_was(self, architecture, images, tmp_path):
        classifier = shared(architecture).with_temperatures({"final": 2.5})
        classifier.save(tmp_path)
        again = Classifier.load(tmp_path)
        assert isinstance(again, TransferClassifier)
        with torch.no_grad():
            assert torch.equal(again(images), classifier(images))
        assert (again.classes, again.temperature, again.input_size) == (CLASSES, 2.5, INPUT)
        assert again.settings == classifier.settings
        assert again.provenance == {"data": "0123", "pretrained": "none"}
        assert not again.training

    def test_its_map_for_cam_is_a_32nd_of_the_input(self, architecture, images):
        classifier = shared(architecture)
        if architecture == "vit_b_16":
            with pytest.raises(ParameterError, match="vit_b_16 has no convolutional map"):
                classifier.cam_layers()[-1]
            return
        assert output_of(classifier, classifier.cam_layers()[-1], images).shape[-2:] == (2, 2)


@pytest.mark.parametrize("architecture", sorted(set(ANATOMIES) - {"vit_b_16"}))
def test_stages_of_a_convolutional_network_halve_the_map(architecture, images):
    classifier = shared(architecture)
    sides = []
    for parts in classifier.anatomy.stages.values():
        last = [part for part in parts if not part.startswith("classifier")][-1]
        made = output_of(classifier, classifier.network.get_submodule(last), images)
        sides.append(made.shape[-1])
    assert sides == [32, 16, 8, 4, 2]


@pytest.mark.parametrize(("architecture", "strategy"), STRATEGIES)
def test_a_strategy_trains_its_parameters_and_no_others(architecture, strategy, images):
    classifier = shared(architecture)
    params = StrategyParams(strategy=strategy)
    for phase in build_phases(params, 4, classifier.stages(), classifier.head_names()):
        trained = {name for group in phase.groups for name in group.names}
        for name, parameter in classifier.named_parameters():
            parameter.grad = None
            parameter.requires_grad_(name in trained)
        F.cross_entropy(classifier(images), torch.tensor([0, 1])).backward()
        for name, parameter in classifier.named_parameters():
            if name in trained:
                assert parameter.grad.abs().sum() > 0, name
            else:
                assert parameter.grad is None, name


def output_of(classifier, module, images) -> torch.Tensor:
    made: list[torch.Tensor] = []
    hook = module.register_forward_hook(lambda _, __, output: made.append(output))
    with torch.no_grad():
        classifier(images)
    hook.remove()
    return made[0]


class TestSizes:
    def test_without_interpolation_it_reads_images_as_they_are(self, images):
        plain = awake(build("mobilenet_v3_small", interpolation="none"))
        resized = awake(build("mobilenet_v3_small"))
        assert (plain.network_size, resized.network_size) == (INPUT, BACKBONE)
        torch.testing.assert_close(plain(images), plain.network((images - plain.mean) / plain.std))
        assert not torch.allclose(plain(images), resized(images), rtol=0.1, atol=0.1)

    @pytest.mark.parametrize(
        ("changes", "named"),
        [({"backbone_size": 50}, "backbone_size, 50"), ({"interpolation": "none"}, "own size, 40")],
    )
    def test_a_vit_refuses_what_its_patches_do_not_divide(self, changes, named):
        params = PretrainedParams(architecture="vit_b_16", pretrained="none", **changes)
        with pytest.raises(
            ParameterError, match=f"patches of 16 pixels, .*{named}.*multiple of 16"
        ):
            build_transfer(params, CLASSES, 40, {}, seed=0)

    def test_pictures_of_any_size_are_prepared(self, pictures):
        prepared = shared("resnet18").prepare(pictures)
        assert prepared.shape == (len(pictures), 3, INPUT, INPUT)
        assert prepared.dtype == torch.uint8

    def test_a_picture_of_the_input_size_keeps_its_pixels(self, pictures):
        picture = pictures[0].resize((INPUT, INPUT))
        (prepared,) = shared("resnet18").prepare([picture])
        np.testing.assert_array_equal(prepared.permute(1, 2, 0).numpy(), np.asarray(picture))


class TestSeed:
    def test_the_seed_alone_decides(self):
        first, again = build("mobilenet_v3_small"), build("mobilenet_v3_small")
        assert same(first, again)
        params = PretrainedParams(architecture="mobilenet_v3_small", pretrained="none")
        assert not same(first, build_transfer(params, CLASSES, INPUT, {}, seed=6))

    def test_the_global_generator_is_left_alone(self):
        torch.manual_seed(1)
        expected = torch.rand(3)
        torch.manual_seed(1)
        build("mobilenet_v3_small")
        assert torch.equal(torch.rand(3), expected)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_it_learns_32_images_by_heart():
    classifier = build("resnet18", backbone_size=INPUT, interpolation="none").train()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(32, 3, INPUT, INPUT, generator=generator)
    labels = torch.randint(0, 3, (32,), generator=generator)
    optimiser = torch.optim.AdamW(classifier.parameters(), 1e-3)
    for _ in range(15):
        optimiser.zero_grad()
        F.cross_entropy(classifier(images), labels).backward()
        optimiser.step()
    assert (classifier(images).argmax(dim=1) == labels).all()


def test_a_folder_that_names_an_unknown_architecture_is_damaged(tmp_path: Path):
    shared("mobilenet_v3_small").save(tmp_path)
    described = tmp_path / "classifier.json"
    described.write_text(described.read_text().replace("mobilenet_v3_small", "alexnet"))
    with pytest.raises(ArtifactError, match=r"damaged.*alexnet"):
        Classifier.load(tmp_path)
