"""Every architecture through one suite, each against what it promises, and the classifier around them."""

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torchvision.models import resnet18

from glasshead.errors import ArtifactError, ParameterError
from glasshead.models.classifier import Classifier, as_images
from glasshead.models.cnn import ARCHITECTURES, CNNClassifier, build_cnn
from glasshead.models.compact_cnn import CompactCNN
from glasshead.models.fast_cnn import FastCNN, Whitening
from glasshead.models.resnet import SmallImageResNet18, scaled

CLASSES = ("bird", "cat", "ship")
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
EVERY = pytest.mark.parametrize("architecture", ARCHITECTURES)


def build(architecture="fast_cnn", seed=0, **changes) -> CNNClassifier:
    given = {"classes": CLASSES, "input_size": 32, "width": 0.25, "mean": MEAN, "std": STD}
    given |= {"provenance": {"data": "0123"}} | changes
    return build_cnn(architecture, seed=seed, **given)


def pictures(n=8, size=32, seed=0) -> torch.Tensor:
    """Return smooth random images in [0, 1]: coarse noise with finer noise on it, each channel of its own range."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 4, 4, generator=generator)
    smooth = F.interpolate(coarse, size=(size, size), mode="bilinear")
    fine = 0.1 * torch.rand(n, 3, size, size, generator=generator)
    return (smooth * torch.tensor([0.5, 0.7, 0.9]).view(3, 1, 1) + fine).clamp(0, 1)


@EVERY
class TestEveryArchitecture:
    @pytest.mark.parametrize(
        ("size", "classes", "width"), [(16, 2, 0.25), (17, 3, 0.1), (32, 10, 0.5), (50, 100, 0.25)]
    )
    def test_logits_of_any_size_number_of_classes_and_width(
        self, architecture, size, classes, width
    ):
        names = tuple(map(str, range(classes)))
        classifier = build(architecture, classes=names, input_size=size, width=width)
        logits = classifier(pictures(2, size))
        assert logits.shape == (2, classes)
        assert logits.isfinite().all()

    def test_gradients_reach_every_parameter_and_the_pixels(self, architecture):
        classifier = build(architecture)
        images = pictures().requires_grad_()
        F.cross_entropy(classifier(images), torch.arange(8) % 3).backward()
        assert [n for n, p in classifier.named_parameters() if not p.grad.abs().sum() > 0] == []
        assert all(p.requires_grad for p in classifier.parameters())
        assert (images.grad.abs().sum(dim=(1, 2, 3)) > 0).all()

    def test_it_comes_back_from_its_folder_as_it_was(self, architecture, tmp_path):
        classifier = build(architecture, resize="bicubic")
        classifier.whiten(pictures(20))
        classifier(pictures())  # batch norm has something to remember
        classifier.eval().with_temperatures({"final": 2.0}).save(tmp_path)
        again = Classifier.load(tmp_path)
        assert isinstance(again, CNNClassifier)
        assert torch.equal(again(pictures(seed=1)), classifier(pictures(seed=1)))
        assert again.settings == classifier.settings
        assert (again.classes, again.input_size, again.temperature) == (CLASSES, 32, 2.0)
        assert (again.provenance, again.training) == ({"data": "0123"}, False)

    def test_it_learns_32_images_by_heart(self, architecture):
        torch.manual_seed(0)
        classifier = build(architecture, width=0.125)
        images, labels = torch.rand(32, 3, 32, 32), torch.randint(3, (32,))
        classifier.whiten(images)
        optimiser = torch.optim.Adam(classifier.parameters(), lr=5e-3)
        decay = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, total_iters=60)
        for _ in range(60):
            optimiser.zero_grad()
            F.cross_entropy(classifier(images), labels).backward()
            optimiser.step()
            decay.step()
        assert torch.equal(classifier.eval()(images).argmax(dim=1), labels)

    def test_channels_last_changes_the_layout_alone(self, architecture):
        classifier = build(architecture).eval()
        expected = classifier(pictures())
        classifier.to(memory_format=torch.channels_last)
        given = pictures().contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(classifier(given), expected, rtol=1e-4, atol=1e-5)

    def test_the_layer_for_cam_gives_maps_on_which_the_logits_depend(self, architecture):
        classifier = build(architecture).eval()
        seen = []
        hook = classifier.cam_layers()[-1].register_forward_hook(
            lambda module, inputs, output: seen.append(output)
        )
        logits = classifier(pictures())
        hook.remove()
        (maps,) = seen
        assert maps.ndim == 4
        assert maps.shape[-1] >= 3
        (gradient,) = torch.autograd.grad(logits[:, 0].sum(), maps)
        assert (gradient.abs().sum(dim=(1, 2, 3)) > 0).all()

    def test_the_layer_for_cam_is_the_last_with_a_convolution(self, architecture):
        classifier = build(architecture)
        convolutions = [m for m in classifier.modules() if isinstance(m, nn.Conv2d)]
        inside = {id(m) for m in classifier.cam_layers()[-1].modules()}
        assert id(convolutions[-1]) in inside
        assert id(convolutions[0]) not in inside

    def test_a_seed_decides_the_weights_and_leaves_torchs_generator_alone(self, architecture):
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        first, again, other = (build(architecture, seed).eval() for seed in (0, 0, 1))
        assert torch.equal(torch.rand(3), expected)
        assert torch.equal(first(pictures()), again(pictures()))
        assert not torch.equal(first(pictures()), other(pictures()))

    def test_images_are_normalised_by_the_given_pixels(self, architecture):
        classifier = build(architecture).eval()
        normalised = (pictures() - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(
            3, 1, 1
        )
        torch.testing.assert_close(classifier(pictures()), classifier.net(normalised))

    def test_width_scales_the_parameters_with_its_square(self, architecture):
        wide, narrow = (
            sum(p.numel() for p in ARCHITECTURES[architecture](10, width).parameters())
            for width in (1.0, 0.5)
        )
        assert narrow / wide == pytest.approx(0.25, abs=0.01)


class TestCompactCNN:
    def test_its_parameters_are_those_of_the_sum_by_hand(self):
        maps = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256)]
        convolutions = sum(9 * inputs * outputs + 2 * outputs for inputs, outputs in maps)
        head = 256 * 512 + 512 + 512 * 10 + 10
        count = sum(p.numel() for p in CompactCNN(10).parameters())
        assert count == convolutions + head
        assert count == pytest.approx(1.9e6, rel=0.02)

    def test_blocks_halve_the_side(self):
        net = CompactCNN(10, 0.125)
        sides, x = [], torch.rand(1, 3, 32, 32)
        for block in net.blocks:
            x = block(x)
            sides.append(x.shape[-1])
        assert sides == [16, 8, 4]

    def test_dropout_acts_in_training_alone(self):
        net = CompactCNN(10, 0.25)
        assert not torch.equal(net.head(torch.ones(1, 64)), net.head(torch.ones(1, 64)))
        net.eval()
        assert torch.equal(net.head(torch.ones(1, 64)), net.head(torch.ones(1, 64)))


class TestResNet18:
    def test_with_torchvisions_weights_it_is_torchvisions_but_for_the_stem(self):
        torch.manual_seed(0)
        theirs = resnet18(num_classes=7)
        theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        theirs.maxpool = nn.Identity()
        ours = SmallImageResNet18(7)
        ours.load_state_dict(theirs.state_dict())
        images = torch.randn(2, 3, 32, 32)
        with torch.no_grad():
            torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-5)


class TestWhitening:
    @pytest.mark.parametrize("patch", [1, 2, 3])
    def test_the_patches_it_was_fitted_to_come_out_uncorrelated_with_variance_one(self, patch):
        images = 5 * pictures(60)
        whitening = Whitening(patch)
        whitening.fit(images)
        with torch.no_grad():
            outputs = whitening(images).transpose(0, 1).flatten(1)
        half = 3 * patch**2
        assert whitening.channels == len(outputs) == 2 * half
        torch.testing.assert_close(outputs[:half].cov(), torch.eye(half), rtol=0, atol=0.03)
        torch.testing.assert_close(outputs[half:], -outputs[:half])

    def test_the_strongest_direction_comes_first(self):
        """Images that vary in brightness alone, but for a little noise: the first filter is a mean of all values."""
        grey = torch.rand(40, 1, 1, 1, generator=torch.Generator().manual_seed(0))
        images = grey + 0.01 * torch.rand(40, 3, 16, 16)
        whitening = Whitening(2)
        whitening.fit(images)
        first = whitening.filters[0].flatten()
        torch.testing.assert_close(
            first / first.sum(), torch.full((12,), 1 / 12), rtol=0.02, atol=0
        )

    def test_what_never_varies_is_not_blown_up(self):
        """Grey images leave two thirds of the directions empty."""
        whitening = Whitening(2)
        whitening.fit(torch.rand(20, 1, 16, 16).repeat(1, 3, 1, 1))
        assert whitening.filters.isfinite().all()
        assert whitening.filters.flatten(1).norm(dim=1).max() <= 1.001 / math.sqrt(5e-4)

    def test_unfitted_it_passes_values_on(self):
        image = torch.rand(1, 3, 16, 16)
        with torch.no_grad():
            outputs = Whitening(2)(image)
        torch.testing.assert_close(outputs[:, 4], image[:, 1, :-1, :-1])
        torch.testing.assert_close(outputs[:, 12 + 4], -image[:, 1, :-1, :-1])

    def test_the_classifier_fits_it_to_normalised_images(self):
        classifier, alone = build(), Whitening(2)
        classifier.whiten(pictures(30))
        alone.fit(classifier.normalise(pictures(30)))
        assert torch.equal(classifier.net.whitening.filters, alone.filters)

    def test_training_leaves_the_filters_and_the_scales_of_batch_norm(self):
        classifier = build()
        classifier.whiten(pictures(20))
        fixed = {
            name: value.clone()
            for name, value in classifier.state_dict().items()
            if name.endswith("filters") or ("norm" in name and name.endswith("weight"))
        }
        assert len(fixed) >= 4
        optimiser = torch.optim.SGD(classifier.parameters(), lr=0.1, weight_decay=0.1)
        F.cross_entropy(classifier(pictures()), torch.arange(8) % 3).backward()
        optimiser.step()
        for name, value in fixed.items():
            assert torch.equal(classifier.state_dict()[name], value), name


def test_fast_cnn_begins_with_partial_identities():
    """A convolution with more outputs than inputs passes its inputs on in the first of them."""
    net = FastCNN(10)
    x = torch.rand(1, 24, 6, 6)
    with torch.no_grad():
        outputs = net.stages[0].reduce(x)
    torch.testing.assert_close(outputs[:, :24], x)
    assert not torch.allclose(outputs[:, 24:48], x)


class TestPrepare:
    def test_what_fits_is_not_touched(self):
        pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        prepared = build().prepare([Image.fromarray(pixels)])
        np.testing.assert_array_equal(prepared[0].numpy(), pixels.transpose(2, 0, 1))

    @pytest.mark.parametrize("size", [(32, 48), (64, 64), (20, 24), (300, 40), (16, 100)])
    def test_any_size_comes_out_square(self, size):
        prepared = build().prepare([Image.new("RGB", size, (10, 20, 30))] * 2)
        assert prepared.dtype == torch.uint8
        assert prepared.shape == (2, 3, 32, 32)
        assert prepared[0].flatten(1).unique(dim=1).flatten().tolist() == [10, 20, 30]

    def test_the_middle_of_the_longer_side_is_kept(self):
        """Columns of an image as high as the input are numbered by their red."""
        pixels = np.zeros((32, 52, 3), np.uint8)
        pixels[:, :, 0] = np.arange(52)
        prepared = build().prepare([Image.fromarray(pixels)])
        assert prepared[0, 0, 0].tolist() == list(range(10, 42))

    @pytest.mark.parametrize("resize", ["bilinear", "bicubic"])
    def test_resizing_is_pillows(self, resize):
        image = Image.fromarray((as_numpy(pictures(1, 96)) * 255).astype(np.uint8))
        prepared = build(resize=resize).prepare([image])[0].numpy().transpose(1, 2, 0)
        theirs = np.asarray(image.resize((32, 32), Image.Resampling[resize.upper()]))
        assert np.abs(prepared.astype(int) - theirs).max() <= 1


def as_numpy(images: torch.Tensor) -> np.ndarray:
    return images[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_size": 15}, "input size is 15.*at least 16"),
        ({"std": (0.2, 0.0, 0.2)}, "a constant channel cannot be normalised"),
    ],
)
def test_what_cannot_be_built_is_refused(changes, message):
    with pytest.raises(ParameterError, match=message):
        build(**changes)


@pytest.mark.parametrize(
    "change", [{"architecture": "alexnet"}, {"width": "wide"}, {"width": 0.5}, {"mean": None}]
)
def test_damaged_settings_are_an_artifact_error(tmp_path, change):
    build().save(tmp_path)
    path = tmp_path / "classifier.json"
    described = json.loads(path.read_text())
    described["settings"] |= change
    path.write_text(json.dumps(described))
    with pytest.raises(ArtifactError, match=r"damaged|do not fit"):
        Classifier.load(tmp_path)


@pytest.mark.parametrize(
    ("channels", "width", "expected"), [(64, 1, 64), (64, 0.3, 16), (64, 0.01, 8), (256, 1.5, 384)]
)
def test_scaled_channels_are_multiples_of_eight(channels, width, expected):
    assert scaled(channels, width) == expected


def test_pixels_in_range_reach_the_network_as_images():
    classifier = build().eval()
    pixels = classifier.prepare([Image.new("RGB", (32, 32), "white")])
    assert torch.equal(classifier(as_images(pixels)), classifier(torch.ones(1, 3, 32, 32)))
