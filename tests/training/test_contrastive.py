"""The contrastive loss against closed forms; statements, crops and schedule one by one; training end to end."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from glasshead.images.captions import all_words, write_caption
from glasshead.models.nano_clip import NanoClip, NanoClipParams
from glasshead.training.contrastive import (
    UNKNOWN,
    ContrastiveParams,
    Pairs,
    augment,
    compatibility,
    contrastive_loss,
    draw_statements,
    train_clip,
)

TINY = NanoClipParams(width=16, layers=1, heads=2, text_width=16, projection=8, patch_size=8)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class TestLoss:
    def test_with_one_caption_an_image_it_is_clips_symmetric_cross_entropy(self):
        similarity = torch.randn(6, 6, generator=seeded())
        own = torch.arange(6)
        expected = (F.cross_entropy(similarity, own) + F.cross_entropy(similarity.T, own)) / 2
        torch.testing.assert_close(
            contrastive_loss(similarity, torch.eye(6), 1 - torch.eye(6)), expected
        )

    def test_a_case_by_hand(self):
        """Two images, three captions. Caption 0 fits image 0, 1 fits both, 2 fits image 1 and is unknown of image 0."""
        similarity = torch.tensor([[1.0, 2.0, 50.0], [0.0, 1.0, 3.0]])
        positive = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
        negative = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
        first = math.log(math.e + math.e**2) - 1.5
        second = math.log(1 + math.e + math.e**3) - 2
        to_captions = (first + second) / 2
        zero = math.log(math.e + 1) - 1
        one = math.log(math.e**2 + math.e) - 1.5
        two = 0.0  # image 1 is all that is left
        to_images = (zero + one + two) / 3
        loss = contrastive_loss(similarity, positive, negative)
        assert loss.item() == pytest.approx((to_captions + to_images) / 2, rel=1e-6)

    def test_its_gradient_is_softmax_minus_target_and_none_where_unknown(self):
        similarity = torch.randn(2, 3, generator=seeded()).requires_grad_()
        positive = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
        negative = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
        contrastive_loss(similarity, positive, negative).backward()
        assert similarity.grad.isfinite().all()
        assert similarity.grad[0, 2] == 0
        rows = similarity.detach().clone()
        rows[0, 2] = -torch.inf
        by_row = (rows.softmax(1) - positive / positive.sum(1, keepdim=True)) / 2
        by_column = (rows.softmax(0) - positive / positive.sum(0, keepdim=True)) / 3
        torch.testing.assert_close(similarity.grad, (by_row + by_column) / 2)

    def test_an_image_that_nothing_describes_adds_nothing(self):
        similarity = torch.randn(2, 2, generator=seeded())
        positive = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
        rows = F.cross_entropy(similarity[:1], torch.tensor([[0.5, 0.5]])) / 2
        columns = F.cross_entropy(similarity.T, torch.tensor([0, 0]))
        loss = contrastive_loss(similarity, positive, 1 - positive)
        torch.testing.assert_close(loss, (rows + columns) / 2)


class TestStatements:
    @pytest.mark.parametrize(
        ("fact", "statement", "positive", "negative"),
        [
            ([3, 1], [3, 1], 1, 0),
            ([3, 1], [3, UNKNOWN], 1, 0),
            ([3, 1], [3, 2], 0, 1),
            ([3, 1], [4, 1], 0, 1),
            ([3, 1], [4, UNKNOWN], 0, 1),
            ([3, UNKNOWN], [3, UNKNOWN], 1, 0),
            ([3, UNKNOWN], [3, 1], 0, 0),
            ([3, UNKNOWN], [4, 1], 0, 1),
        ],
    )
    def test_compatibility(self, fact, statement, positive, negative):
        found = compatibility(torch.tensor([fact]), torch.tensor([statement]))
        assert [part.item() for part in found] == [positive, negative]

    def test_compatibility_pairs_all_images_with_all_statements(self):
        facts = torch.tensor([[0, 1], [0, 2], [1, UNKNOWN]])
        statements = torch.tensor([[0, UNKNOWN], [1, 1]])
        positive, negative = compatibility(facts, statements)
        assert positive.tolist() == [[1, 0], [1, 0], [0, 0]]
        assert negative.tolist() == [[0, 1], [0, 1], [1, 0]]

    def test_a_statement_is_true_of_an_image_and_names_its_class(self):
        facts = torch.randint(-1, 4, (50, 4), generator=seeded())
        facts[:, 0] = facts[:, 0].clamp(min=0)
        statements = draw_statements(facts, 0.5, seeded(1))
        positive, _ = compatibility(facts, statements)
        assert (positive.sum(dim=0) > 0).all()
        assert (positive.sum(dim=1) > 0).all()
        assert (statements[:, 0] >= 0).all()
        assert len(statements.unique(dim=0)) == len(statements) < 50

    def test_the_told_share_says_how_many_speak_of_more_than_the_class(self):
        facts = torch.arange(8000).reshape(
            2000, 4
        )  # no two alike, so that none is dropped as a repeat
        said = [
            (draw_statements(facts, told, seeded())[:, 1:] != UNKNOWN).float()
            for told in (0.0, 0.4, 1.0)
        ]
        assert said[0].sum() == 0
        assert said[1].mean().item() == pytest.approx(0.2, abs=0.03)
        assert said[2].mean().item() == pytest.approx(0.5, abs=0.03)
        assert said[1].any(dim=1).float().mean().item() == pytest.approx(0.4 * 7 / 8, abs=0.04)


class TestAugmentation:
    def test_every_result_is_a_crop_of_the_reflected_image_or_of_its_mirror(self):
        images = torch.randint(0, 256, (40, 3, 6, 7), generator=seeded(), dtype=torch.uint8)
        results = augment(images, 2, seeded(1))
        assert results.shape == images.shape
        seen = set()
        for image, result in zip(images, results, strict=True):
            padded = np.pad(image.numpy() / 255, ((0, 0), (2, 2), (2, 2)), mode="reflect")
            crops = {
                (top, left, mirrored): padded[:, top : top + 6, left : left + 7]
                for top in range(5)
                for left in range(5)
                for mirrored in (False, True)
            }
            matching = [
                place
                for place, crop in crops.items()
                if np.allclose(crop[..., ::-1] if place[2] else crop, result, atol=1e-6)
            ]
            assert len(matching) == 1
            seen |= set(matching)
        for axis, count in enumerate((5, 5, 2)):
            assert len({place[axis] for place in seen}) == count

    def test_without_padding_only_the_mirror_is_left(self):
        images = torch.randint(0, 256, (20, 3, 4, 4), generator=seeded(), dtype=torch.uint8)
        for image, result in zip(images / 255, augment(images, 0, seeded()), strict=True):
            assert torch.equal(result, image) or torch.equal(result, image.flip(-1))


def coloured_pairs(n=60):
    """Return images whose class is their colour: a caption model can learn nothing easier."""
    labels = torch.arange(n) % 3
    images = torch.zeros(n, 3, 32, 32, dtype=torch.uint8)
    images[torch.arange(n), labels] = 200
    facts = torch.full((n, 4), UNKNOWN)
    facts[:, 0] = labels
    return Pairs(images, facts)


def trained(seed=0, pairs=None, on_step=None, **changes):
    torch.manual_seed(0)
    nano = NanoClip.build(TINY, all_words())
    params = ContrastiveParams(**({"steps": 30, "batch_size": 20} | changes))
    pairs = pairs or coloured_pairs()
    losses = train_clip(
        nano.model,
        pairs,
        lambda statements: nano.tokens([write_caption(row) for row in statements.tolist()]),
        nano.normalise,
        params,
        seed,
        on_step,
    )
    return nano, losses


class TestTraining:
    def test_it_learns_to_tell_what_can_be_told(self):
        nano, losses = trained(steps=60, learning_rate=5e-3)
        assert len(losses) == 60
        assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
        pairs = coloured_pairs(3)
        with torch.inference_mode():
            pixels = nano.normalise(pairs.images.float() / 255)
            images = nano.model.get_image_features(pixel_values=pixels).pooler_output
            captions = [write_caption(row) for row in pairs.facts.tolist()]
            texts = nano.model.get_text_features(**nano.tokens(captions)).pooler_output
        nearest = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
        assert nearest.argmax(dim=1).tolist() == [0, 1, 2]
        assert not nano.model.training

    def test_a_seed_gives_the_same_weights_and_another_gives_others(self):
        (first, losses), (second, again), (_, others) = trained(1), trained(1), trained(2)
        assert losses == again != others
        for name, value in first.model.state_dict().items():
            assert torch.equal(value, second.model.state_dict()[name]), name

    def test_every_weight_of_both_towers_moves(self):
        torch.manual_seed(0)
        before = NanoClip.build(TINY, all_words()).model.state_dict()
        after = trained(steps=5)[0].model.state_dict()
        unused = {"text_model.embeddings.position_ids", "vision_model.embeddings.position_ids"}
        still = {name for name in before if torch.equal(before[name], after[name])} - unused
        assert still == set()

    def test_the_rate_warms_up_and_decays_to_nearly_zero(self, monkeypatch):
        rates = []
        monkeypatch.setattr(
            torch.optim.AdamW,
            "step",
            lambda self, closure=None: rates.append(self.param_groups[0]["lr"]),
        )
        trained(steps=20, warmup_fraction=0.25, learning_rate=1e-3)
        assert rates[:5] == pytest.approx([0.2e-3, 0.4e-3, 0.6e-3, 0.8e-3, 1e-3])
        assert all(a >= b for a, b in pairwise(rates[4:]))
        assert rates[-1] == pytest.approx(1e-3 / 15)

    def test_every_epoch_shows_every_image_once(self, monkeypatch):
        """Images of one flat grey each tell by their mean which rows a step has taken."""
        pairs = Pairs(
            torch.arange(40, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 32, 32),
            torch.tensor([[0, UNKNOWN, UNKNOWN, UNKNOWN]]).expand(40, -1),
        )
        taken = []
        monkeypatch.setattr(
            "glasshead.training.contrastive.augment",
            lambda images, padding, generator: (taken.append(images), images / 255)[1],
        )
        trained(pairs=pairs, steps=4, batch_size=20)
        rows = [batch[:, 0, 0, 0].tolist() for batch in taken]
        assert sorted(rows[0] + rows[1]) == sorted(rows[2] + rows[3]) == list(range(40))
        assert rows[0] + rows[1] != rows[2] + rows[3]

    def test_a_batch_larger_than_the_data_is_all_of_it(self):
        assert len(trained(pairs=coloured_pairs(6), steps=2, batch_size=50)[1]) == 2

    def test_arithmetic_stays_as_ieee_754_has_it(self):
        """Flushing denormals would be a setting of the whole process, and of all that runs after in it."""
        trained(steps=1)
        assert torch.tensor(1e-40) * 1 > 0

    def test_it_reports_every_step(self):
        seen = []
        _, losses = trained(steps=3, on_step=lambda step, loss: seen.append((step, loss)))
        assert seen == list(enumerate(losses))


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"told_fraction": 1.1}, {"crop_padding": -1}, {"minutes": 3}]
)
def test_a_mistyped_parameter_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ContrastiveParams(**wrong)
