"""The risk auditor: closed forms of its head, its folder, and class activation maps of it."""

import numpy as np
import pytest
import torch
from PIL import Image

from glasshead.errors import BackboneError
from glasshead.explainers.cam import grad_cam
from glasshead.explainers.passes import Budget
from glasshead.models.backbone import BackboneParams
from glasshead.models.classifier import Classifier
from glasshead.models.clip import load_encoder
from glasshead.models.risk import (
    POOLINGS,
    MonotoneMLP,
    RiskAuditor,
    RiskHead,
    RiskHeadParams,
    as_map,
)

RISKS = ("road", "dark")
D, SIDE = 5, 4


def build_head(
    pooling="top_k_mean", risks=2, dimension=D, spread=4, channels=3, top_fraction=0.25
) -> RiskHead:
    torch.manual_seed(0)
    params = RiskHeadParams(
        pooling=pooling, top_fraction=top_fraction, channels=channels, spread=spread, likeness=0.5
    )
    head = RiskHead(dimension, risks, params).eval()
    head.standardise_by(torch.linspace(-1, 1, dimension), torch.linspace(0.5, 2, dimension))
    return head


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(3, D, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def linear(head: RiskHead, features: torch.Tensor) -> torch.Tensor:
    standard = (features - head.mean[:, None, None]) / head.scale[:, None, None]
    weight = head.to_maps.weight[:, :, 0, 0]
    return torch.einsum("bdhw,rd->brhw", standard, weight) + head.to_maps.bias[:, None, None]


class TestHead:
    def test_without_channels_the_evidence_is_linear_in_standardised_features(self, features):
        head = build_head(channels=0)
        torch.testing.assert_close(head.activations(features), linear(head, features))

    def test_with_channels_the_evidence_of_a_place_is_that_of_a_small_network(self, features):
        head = build_head(channels=3)
        standard = (features - head.mean[:, None, None]) / head.scale[:, None, None]
        places = standard.permute(0, 2, 3, 1)
        first, second = (
            (each.weight[:, :, 0, 0], each.bias) for each in (head.to_channels, head.to_maps)
        )
        units = torch.nn.functional.gelu(places @ first[0].T + first[1])
        expected = (units @ second[0].T + second[1]).permute(0, 3, 1, 2)
        torch.testing.assert_close(head.activations(features), expected)

    def test_a_map_is_the_evidence_above_its_mean_after_a_walk_between_places_that_look_alike(
        self, features
    ):
        """Twice one step of the walk, in loops over places, up to mean and height."""
        head = build_head(spread=2)
        standard = (features - head.mean[:, None, None]) / head.scale[:, None, None]
        vectors = standard.flatten(2).transpose(1, 2)
        expected = head.activations(features).flatten(2).transpose(1, 2)
        expected = (expected - expected.mean(dim=1, keepdim=True)).relu()
        for _ in range(2):
            moved = torch.zeros_like(expected)
            for image, places in enumerate(vectors):
                for place, vector in enumerate(places):
                    cosine = torch.cosine_similarity(vector[None], places, dim=1)
                    chance = torch.exp(cosine / 0.5) / torch.exp(cosine / 0.5).sum()
                    moved[image, place] = chance @ expected[image]
            expected = moved
        maps = head.maps(features).flatten(2).transpose(1, 2)
        maps, expected = (each - each.mean(dim=1, keepdim=True) for each in (maps, expected))
        maps, expected = (each / each.amax(dim=1, keepdim=True) for each in (maps, expected))
        torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize("pooling", ["average", "max", "top_k_mean"])
    @pytest.mark.parametrize("top_fraction", [0.001, 0.25, 1.0])
    def test_a_map_pools_to_the_logit_of_its_image(self, features, pooling, top_fraction):
        head = build_head(pooling, top_fraction=top_fraction)
        maps, activations = head.maps(features), head.activations(features)
        assert not torch.allclose(maps, activations, atol=1e-3)
        heights = [each.amax(dim=(2, 3)) - each.mean(dim=(2, 3)) for each in (maps, activations)]
        assert (heights[0] > 0.3 * heights[1]).all()
        torch.testing.assert_close(head.mlp(head.pooled(maps, features)), head(features))

    def test_without_steps_the_map_is_the_evidence(self, features):
        head = build_head(spread=0)
        torch.testing.assert_close(head.maps(features), head.activations(features))

    @pytest.mark.parametrize(
        ("pooling", "expected"),
        [
            ("average", lambda flat: flat.mean(-1)),
            ("max", lambda flat: flat.max(-1).values),
            ("top_k_mean", lambda flat: flat.sort(-1, descending=True).values[..., :4].mean(-1)),
        ],
    )
    def test_poolings_in_closed_form(self, features, pooling, expected):
        head = build_head(pooling)
        maps = head.activations(features)
        torch.testing.assert_close(head.pooled(maps, features), expected(maps.flatten(2)))

    def test_attention_that_is_the_same_everywhere_averages(self, features):
        head = build_head("attention")
        torch.nn.init.zeros_(head.to_attention.weight)
        maps = head.activations(features)
        torch.testing.assert_close(head.pooled(maps, features), maps.mean(dim=(2, 3)))

    def test_strong_attention_picks_the_place_it_likes(self, features):
        head = build_head("attention")
        torch.nn.init.zeros_(head.to_attention.weight)
        head.to_attention.weight.data[:, 0] = 1000.0
        maps = head.activations(features)
        place = features[:, 0].flatten(1).argmax(dim=1)
        expected = maps.flatten(2)[torch.arange(3), :, place]
        torch.testing.assert_close(head.pooled(maps, features), expected)

    @pytest.mark.parametrize("pooling", POOLINGS)
    def test_a_map_that_is_alike_everywhere_means_its_own_logit(self, pooling):
        head = build_head(pooling)
        features = torch.randn(2, D, 1, 1).expand(-1, -1, SIDE, SIDE)
        logits, maps = head(features), head.maps(features)
        torch.testing.assert_close(head.place_logits(maps)[:, :, 1, 2], logits)

    def test_the_mlp_rises_strictly_whatever_the_signs_of_its_weights(self):
        torch.manual_seed(0)
        mlp = MonotoneMLP(2, 16)
        for parameter in mlp.parameters():
            torch.nn.init.normal_(parameter)
        values = torch.linspace(-30, 30, 400)[:, None].expand(-1, 2)
        assert (mlp(values).diff(dim=0) > 0).all()

    @pytest.mark.parametrize("pooling", ["max", "top_k_mean"])
    def test_it_narrows_from_all_places_to_its_own(self, features, pooling):
        head = build_head(pooling)
        activations = head.activations(features)
        final = head.pooled(activations, features)
        head.narrowed = 0.0
        torch.testing.assert_close(head.pooled(activations, features), activations.mean(dim=(2, 3)))
        head.narrowed = 0.5  # of 16 places the geometric mean of all and 4, or of all and 1
        count = {"max": 4, "top_k_mean": 8}[pooling]
        expected = activations.flatten(2).sort(-1, descending=True).values[..., :count].mean(-1)
        torch.testing.assert_close(head.pooled(activations, features), expected)
        head.narrowed = 1.0
        torch.testing.assert_close(head.pooled(activations, features), final)

    def test_one_place_counts_even_of_a_tiny_fraction(self):
        head = RiskHead(D, 1, RiskHeadParams(top_fraction=0.001))
        assert head.top(torch.randn(2, 1, 3, 3)).shape == (2, 1, 1)

    def test_patch_tokens_go_row_by_row_from_the_top_left(self):
        tokens = torch.arange(2 * 9 * D).reshape(2, 9, D).float()
        grid = as_map(tokens)
        assert grid.shape == (2, D, 3, 3)
        torch.testing.assert_close(grid[1, :, 2, 0], tokens[1, 6])


@pytest.fixture(scope="module")
def auditor() -> RiskAuditor:
    encoder = load_encoder(BackboneParams(), "spatial")
    return RiskAuditor(encoder, build_head(dimension=encoder.dimension), RISKS, {"seed": 7}).eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))


class TestAuditor:
    def test_pixels_become_maps_and_logits(self, auditor, images):
        features = auditor.features(images)
        torch.testing.assert_close(auditor(images), auditor.head(features))
        assert auditor.maps(images).shape == (3, 2, 8, 8)

    def test_each_probability_is_of_its_own_risk_at_its_own_temperature(self, auditor, images):
        calibrated = auditor.with_temperatures({"road": 2.0, "dark": 0.5})
        expected = torch.sigmoid(auditor(images) / torch.tensor([2.0, 0.5]))
        torch.testing.assert_close(calibrated.probabilities(images), expected)
        torch.testing.assert_close(calibrated(images), auditor(images))
        assert auditor.temperatures == {"road": 1.0, "dark": 1.0}

    def test_it_comes_back_as_it_was(self, auditor, images, tmp_path):
        calibrated = auditor.with_temperatures({"road": 2.0, "dark": 0.5})
        calibrated.save(tmp_path / "risk")
        loaded = Classifier.load(tmp_path / "risk")
        assert isinstance(loaded, RiskAuditor)
        assert (loaded.classes, loaded.provenance) == (RISKS, {"seed": 7})
        torch.testing.assert_close(
            loaded.probabilities(images), calibrated.probabilities(images), rtol=0, atol=0
        )
        maps = calibrated.maps(images)
        torch.testing.assert_close(
            loaded.place_probabilities(maps), calibrated.place_probabilities(maps)
        )

    def test_its_files_hold_no_backbone(self, auditor, tmp_path):
        auditor.save(tmp_path / "risk")
        assert (tmp_path / "risk" / "model.safetensors").stat().st_size < 20_000

    def test_another_encoder_under_its_name_is_refused(self, auditor):
        described = {"classes": RISKS, "provenance": {}}
        with pytest.raises(BackboneError, match="Train the risk heads again"):
            RiskAuditor.from_settings(auditor.settings | {"encoder_key": "0" * 32}, described)

    def test_one_image_of_any_size_is_enough(self, auditor):
        pixels = auditor.prepare([Image.new("RGB", (70, 50), "red")])
        assert auditor.probabilities(pixels.float() / 255).shape == (1, 2)

    def test_grad_cam_of_an_average_is_its_map_without_offset(self, images):
        """d logit / d feature is slope · w / (scale · places) everywhere: Grad-CAM is w · f / scale, cut at 0."""
        encoder = load_encoder(BackboneParams(), "spatial")
        head = build_head("average", risks=1, dimension=encoder.dimension, channels=0)
        head.to_maps.weight.data.abs_()
        auditor = RiskAuditor(encoder, head, ("road",), {}).eval()
        found = grad_cam(auditor, images, torch.zeros(3, dtype=torch.int64), Budget()).maps
        weight = head.to_maps.weight[0, :, 0, 0] / head.scale
        grid = torch.einsum("bdhw,d->bhw", auditor.features(images), weight).relu().detach()
        large = torch.nn.functional.interpolate(grid[:, None], 32, mode="bilinear")[:, 0].numpy()
        assert found.max() > 0
        np.testing.assert_allclose(found / found.max(), large / large.max(), atol=1e-4)
