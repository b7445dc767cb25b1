"""Ensembles: the mean of calibrated probabilities, whatever their members are, and one folder for all of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.torch import load_file
from torchvision.transforms.v2 import functional as tv

from glasshead.errors import ParameterError
from glasshead.models.backbone import BackboneParams
from glasshead.models.classifier import Classifier, Concept
from glasshead.models.clip import load_encoder
from glasshead.models.ensemble import Ensemble
from glasshead.models.heads import Bottleneck, GlassHeads
from glasshead.models.pretrained import PretrainedParams, build_transfer

CLASSES = ("bird", "cat", "ship")


class Planted(Classifier):
    """Gives the logits it was made with, whatever it sees."""

    kind = "planted"

    def __init__(self, logits: np.ndarray, temperature: float = 1.0) -> None:
        super().__init__(CLASSES, 8, {})
        self.logits = torch.from_numpy(logits)
        self.temperatures = {"final": temperature}

    def forward(self, images):
        return self.logits


def transfer(seed: int, size: int, temperature: float, classes=CLASSES) -> Classifier:
    """Return a small network with calibrated batch norms, in evaluation mode."""
    params = PretrainedParams(
        architecture="mobilenet_v3_small", pretrained="none", interpolation="none"
    )
    classifier = build_transfer(params, classes, size, {"seed": seed}, seed)
    torch.manual_seed(seed)
    torch.nn.init.normal_(classifier.network.classifier[3].weight, std=0.1)
    for module in classifier.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        classifier.train()(torch.rand(8, 3, size, size))
    return classifier.eval().with_temperatures({"final": temperature})


@pytest.fixture
def heads(clip_folder: Path) -> GlassHeads:
    torch.manual_seed(1)
    encoder = load_encoder(BackboneParams(name=str(clip_folder)))
    bottleneck = Bottleneck(encoder.dimension, (2, 3), len(CLASSES), hidden=4, meta_hidden=5)
    bottleneck.standardise_by(torch.randn(20, encoder.dimension))
    concepts = (Concept("wings", ("yes", "no")), Concept("legs", ("none", "two", "four")))
    heads = GlassHeads(encoder, bottleneck, CLASSES, concepts, {"seed": 7}).eval()
    return heads.with_temperatures({"final": 0.5, "wings": 2.0, "legs": 3.0})


@pytest.fixture
def members(heads: GlassHeads) -> list[Classifier]:
    """A glass head of 32 pixels and networks of 48 and of 40."""
    return [heads, transfer(1, 48, 2.0), transfer(2, 40, 0.7)]


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(4, 3, 48, 48, generator=torch.Generator().manual_seed(2))


LOGITS = arrays.arrays(
    np.float64, st.tuples(st.integers(2, 4), st.just(5), st.just(3)), elements=st.floats(-50, 50)
)


@given(LOGITS, st.floats(0.2, 5))
def test_logits_are_the_logarithm_of_the_mean_of_calibrated_probabilities(logits, temperature):
    ensemble = Ensemble([Planted(each, temperature) for each in logits], {})
    scaled = np.exp(logits / temperature - (logits / temperature).max(axis=-1, keepdims=True))
    mean = (scaled / scaled.sum(axis=-1, keepdims=True)).mean(axis=0)
    images = torch.rand(5, 3, 8, 8)
    np.testing.assert_allclose(ensemble.probabilities(images).numpy(), mean, atol=1e-12)
    np.testing.assert_allclose(ensemble(images).exp().numpy(), mean, atol=1e-12)


def test_certain_members_that_disagree_are_undecided():
    one, other = np.array([[1e4, 0.0, -1e4]]), np.array([[-1e4, 0.0, 1e4]])
    logits = Ensemble([Planted(one), Planted(other)], {})(torch.rand(1, 3, 8, 8))
    assert logits.isfinite().all()
    torch.testing.assert_close(
        logits.softmax(dim=1), torch.tensor([[0.5, 0, 0.5]], dtype=torch.float64)
    )


def test_members_read_the_images_at_their_own_sizes(members, images):
    ensemble = Ensemble(members, {})
    assert ensemble.input_size == 48
    expected = sum(
        member.probabilities(tv.resize(images, [member.input_size] * 2, antialias=True))
        for member in members
    )
    torch.testing.assert_close(ensemble.probabilities(images), expected / 3)


def test_its_own_temperature_acts_on_top(members, images):
    ensemble = Ensemble(members, {})
    warm = ensemble.with_temperatures({"final": 3.0})
    mean = ensemble.probabilities(images)
    tempered = mean.pow(1 / 3)
    torch.testing.assert_close(
        warm.probabilities(images), tempered / tempered.sum(dim=1, keepdim=True)
    )
    assert torch.equal(warm(images), ensemble(images))


def test_gradients_reach_the_pixels_of_every_image(members, images):
    pixels = images.clone().requires_grad_()
    Ensemble(members, {})(pixels)[:, 1].sum().backward()
    assert (pixels.grad.abs().amax(dim=(1, 2, 3)) > 0).all()


class Tilted(Classifier):
    """The first class's logit is `slope` times the mean pixel, above those of the others."""

    kind = "tilted"

    def __init__(self, slope: float, temperature: float) -> None:
        super().__init__(CLASSES, 8, {})
        self.slope = slope
        self.temperatures = {"final": temperature}

    def forward(self, images):
        first = self.slope * images.mean(dim=(1, 2, 3))
        return torch.stack([first, 0 * first, 0 * first], dim=1)


def test_an_adversary_sees_members_that_are_sure():
    members = [Tilted(1000.0, 2.0), Tilted(-3.0, 0.5)]
    ensemble = Ensemble(members, {})
    pixels = torch.ones(1, 3, 8, 8, requires_grad=True)
    gradients = [
        torch.autograd.grad(logits(pixels)[0, 0], pixels)[0].sum().item()
        for logits in (ensemble, ensemble.attacked_logits)
    ]
    assert gradients[0] == pytest.approx(0, abs=0.1)
    assert gradients[1] == pytest.approx((1000 / 2 - 3 / 0.5) / 2, rel=1e-5)


def test_pictures_are_prepared_as_the_largest_member_does(members, pictures):
    prepared = Ensemble(members, {}).prepare(pictures)
    assert prepared.shape == (len(pictures), 3, 48, 48)
    assert torch.equal(prepared, members[1].prepare(pictures))


class TestFolder:
    def test_it_comes_back_as_it_was(self, members, images, tmp_path):
        ensemble = Ensemble(members, {"data": "0123"}).with_temperatures({"final": 1.7})
        ensemble.save(tmp_path)
        again = Classifier.load(tmp_path)
        assert isinstance(again, Ensemble)
        with torch.no_grad():
            assert torch.equal(again(images), ensemble(images))
        assert (again.temperature, again.provenance) == (1.7, {"data": "0123"})
        assert [member.temperature for member in again.members] == [0.5, 2.0, 0.7]
        assert [member.provenance["seed"] for member in again.members] == [7, 1, 2]
        assert again.members[0].concepts == members[0].concepts
        assert again.members[0].temperatures == {"final": 0.5, "wings": 2.0, "legs": 3.0}
        assert not any(module.training for module in again.modules())

    def test_it_holds_what_its_members_would_save_alone(self, members, tmp_path):
        Ensemble(members, {}).save(tmp_path / "ensemble")
        together = load_file(tmp_path / "ensemble" / "model.safetensors")
        names = set()
        for index, member in enumerate(members):
            member.save(tmp_path / str(index))
            alone = load_file(tmp_path / str(index) / "model.safetensors")
            for name, value in alone.items():
                assert torch.equal(together[f"parts.{index}.{name}"], value)
                names.add(f"parts.{index}.{name}")
        assert names == together.keys()

    def test_an_ensemble_of_ensembles_comes_back(self, members, images, tmp_path):
        inner = Ensemble(members[:2], {}).with_temperatures({"final": 2.0})
        outer = Ensemble([inner, members[2]], {})
        outer.save(tmp_path)
        with torch.no_grad():
            assert torch.equal(Classifier.load(tmp_path)(images), outer(images))

    def test_members_that_share_weights_are_saved(self, members, images, tmp_path):
        twice = [members[1], members[1].with_temperatures({"final": 9.0})]
        ensemble = Ensemble(twice, {})
        ensemble.save(tmp_path)
        with torch.no_grad():
            assert torch.equal(Classifier.load(tmp_path)(images), ensemble(images))


class TestRefusals:
    @pytest.mark.parametrize("count", [0, 1])
    def test_fewer_than_two_members(self, members, count):
        with pytest.raises(ParameterError, match=f"two Classifiers or more, not {count}"):
            Ensemble(members[:count], {})

    @pytest.mark.parametrize("classes", [("bird", "cat"), ("cat", "bird", "ship")])
    def test_other_classes_or_another_order(self, members, classes):
        odd = transfer(3, 48, 1.0, classes)
        told = rf"member 3 has {', '.join(classes)}, but member 0 has bird, cat, ship"
        with pytest.raises(ParameterError, match=told):
            Ensemble([*members, odd], {})
