"""`risk` node by node on small scenes and nano-clip: what planted truth must do to results, and bad input."""

import logging
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from glasshead.calibration.params import CalibrateParams, EvaluateParams
from glasshead.calibration.scaling import fit_temperatures, select_calibration
from glasshead.calibration.table import apply_temperatures
from glasshead.embedding.store import EmbeddingStore
from glasshead.errors import ArtifactError, ParameterError, SplitError
from glasshead.images.fitting import select_fitting_samples
from glasshead.images.risks import Risk
from glasshead.images.scenes import CLASSES, Defects, ScenesParams, Shortcut, generate_scenes
from glasshead.images.splits import assign_splits
from glasshead.images.table import ImageTable
from glasshead.models.backbone import BackboneParams
from glasshead.models.classifier import as_images
from glasshead.models.clip import load_encoder
from glasshead.models.risk import RiskAuditor, RiskHead, RiskHeadParams
from glasshead.models.store import VariantStore
from glasshead.pipelines.calibrate.nodes import calibrate_classifier
from glasshead.pipelines.evaluate.nodes import compute_metrics, select_test
from glasshead.pipelines.risk import ablation_nodes, nodes
from glasshead.pipelines.risk.ablation_nodes import (
    ablations,
    compare_variants,
    fit_variants,
    measure_variants,
)
from glasshead.pipelines.risk.audit_nodes import find_shortcuts
from glasshead.pipelines.risk.evaluation_nodes import (
    list_for_review,
    locate_risk,
    plot_galleries,
)
from glasshead.pipelines.risk.nodes import (
    fit_auditor,
    fit_reference,
    predict_risk,
    store_features,
)
from glasshead.pipelines.risk.params import RiskParams
from glasshead.training.risk import train_risk_head

BACKBONE = BackboneParams()
PARAMETERS = RiskParams.model_validate(
    {
        "risks": "truck",
        "training": {"epochs": 8, "batch_size": 64},
        "n_resamples": 60,
        "reviewed": 10,
    }
)


class Data:
    """Scenes in a table, their samples, and the store with their features."""

    def __init__(self, folder, train_rate=0.0, test_rate=0.0, seed=0) -> None:
        shortcut = Shortcut(class_name="truck", train_rate=train_rate, test_rate=test_rate)
        params = ScenesParams(train=600, test=200, defects=Defects(shortcut=shortcut))
        records = list(generate_scenes(params, seed))
        planted = [(record["image_id"], *each) for record in records for each in record["defects"]]
        self.planted = pd.DataFrame(planted, columns=["image_id", "defect", "detail"], dtype="str")
        self.images = ImageTable.from_records(records, CLASSES, ("colour", "habitat", "size"))
        frame = self.images.frame()
        self.samples = frame.assign(split=assign_splits(frame, 0.1, 0.1))
        self.store = EmbeddingStore(folder)
        self.fitting = select_fitting_samples(self.images, self.samples)
        self.plan = store_features(self.images, self.fitting, self.store, BACKBONE, PARAMETERS)

    def fit(self, parameters=PARAMETERS, fit=fit_auditor, seed=0):
        return fit(self.images, self.fitting, self.store, self.plan, BACKBONE, parameters, seed)

    def audit(self, parameters=PARAMETERS):
        """Return what training, calibration and proof make."""
        raw, _ = self.fit(parameters)
        given = self.images, self.fitting, self.store, self.plan, BACKBONE, parameters, 0
        reference = fit_reference(raw, *given)
        logits, maps = predict_risk(
            raw, self.images, self.samples, self.store, self.plan, parameters
        )
        temperatures = fit_temperatures(select_calibration(logits), CalibrateParams())
        auditor = calibrate_classifier(raw, temperatures)
        predictions = apply_temperatures(logits, temperatures)
        localisation = locate_risk(auditor, reference, self.images, predictions, parameters, 0)
        findings = find_shortcuts(
            auditor,
            reference,
            self.images,
            self.samples,
            logits,
            localisation,
            self.planted,
            parameters,
            0,
        )
        return SimpleNamespace(
            auditor=auditor,
            logits=logits,
            predictions=predictions,
            maps=maps,
            temperatures=temperatures,
            localisation=localisation,
            findings=findings,
        )

    def metrics(self, audited):
        """Return the metrics of the corridor."""
        test = select_test(self.images, self.samples, audited.logits, audited.predictions)
        return compute_metrics(
            test,
            self.samples,
            audited.temperatures,
            EvaluateParams(n_resamples=60),
            0,
            localisation=audited.localisation,
        )


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Data:
    """Scenes on whose trucks a mark stands in test alone: nothing can be learnt from it."""
    return Data(tmp_path_factory.mktemp("clean"), test_rate=1.0)


@pytest.fixture(scope="module")
def audited(clean):
    return clean.audit()


def reader_of_marks(data: Data) -> RiskAuditor:
    """Return an auditor that rests on the mark by construction.

    Its evidence is the least-squares direction between corners with the mark and all places of images without it.
    """
    encoder = load_encoder(BACKBONE, "attention_inputs")
    head = RiskHead(encoder.dimension, 1, RiskHeadParams(pooling="max", channels=0, spread=0))
    auditor = RiskAuditor(encoder, head, ("truck",), {})
    trucks = data.samples["label"] == "truck"
    with torch.no_grad():
        marked, others = (
            auditor.features(
                as_images(encoder.prepare([data.images.pil(int(row)) for row in rows[:80]]))
            )
            for rows in (data.samples.index[trucks], data.samples.index[~trucks])
        )
        corners, places = marked[:, :, 0, 0], others.transpose(0, 1).flatten(1).T
        weights = torch.tensor([len(places) / len(corners)] * len(corners) + [1.0] * len(places))
        values = torch.cat([torch.cat([corners, places]), torch.ones(len(weights), 1)], dim=1)
        truth = torch.tensor([1.0] * len(corners) + [-1.0] * len(places))
        scale = weights.sqrt()[:, None]
        *direction, bias = torch.linalg.lstsq(values * scale, truth[:, None] * scale).solution
        head.to_maps.weight[0, :, 0, 0] = 10 * torch.cat(direction)
        head.to_maps.bias[0] = 10 * bias.item()
        # units · 1/16 of (value + 99) - 99: the value itself
        for name, value in {
            "first": 1,
            "first_bias": 99,
            "second": 1 / 16,
            "second_bias": -99,
        }.items():
            getattr(head.mlp, name).fill_(value)
    return auditor.eval()


def find(data: Data, audited: tuple, auditor: RiskAuditor) -> dict[str, dict]:
    findings = find_shortcuts(
        auditor,
        auditor,
        data.images,
        data.samples,
        audited.logits,
        audited.localisation,
        data.planted,
        PARAMETERS,
        0,
    )
    return {each["check"]: each for each in findings}


@pytest.fixture(scope="module")
def marked(tmp_path_factory) -> Data:
    return Data(tmp_path_factory.mktemp("marked"), train_rate=1.0, test_rate=1.0)


class TestShortcut:
    def test_a_mark_that_decides_is_named_by_what_it_holds_and_by_what_hiding_it_costs(
        self, marked, audited
    ):
        found = find(marked, audited, reader_of_marks(marked))["planted_mark"]
        evidence = found["evidence"]
        assert evidence["accuracy_drop_beyond_elsewhere"]["low"] > 0
        for fraction in ("mass_on_place", "attribution_on_place"):
            assert evidence[fraction]["low"] > 3 * evidence["area"]["value"]
        assert "'truck' rests on a planted mark, #ff00dc, in 20 test images" in found["summary"]
        assert found["rows"]

    def test_a_mark_that_was_not_learnt_is_not_told_of(self, audited):
        assert not {"planted_mark", "mark_beside_object"} & {
            each["check"] for each in audited.findings
        }


class TestScores:
    def test_they_rank_and_are_probabilities_of_all_splits(self, audited, clean):
        scores = audited.predictions
        assert scores["image_id"].tolist() == clean.samples["image_id"].tolist()
        test = scores[scores["split"] == "test"]
        assert roc_auc_score(test["label/truck"], test["probability/truck"]) > 0.8
        assert scores["probability/truck"].between(0, 1).all()

    def test_maps_are_those_of_all_images(self, audited):
        maps = audited.maps
        assert maps["maps"].shape == (800, 1, 8, 8)
        assert maps["risks"].tolist() == ["truck"]

    def test_the_temperature_is_that_of_the_probabilities(self, audited):
        scores, temperature = audited.predictions, audited.temperatures["truck"]
        expected = 1 / (1 + np.exp(-audited.logits["logit/truck"] / temperature))
        np.testing.assert_allclose(scores["probability/truck"], expected, rtol=1e-6)

    def test_the_list_begins_with_what_contradicts_its_label(self, audited):
        table = list_for_review(audited.predictions, PARAMETERS)
        assert table["rank"].tolist() == list(range(1, 11))
        assert table["surprise"].is_monotonic_decreasing
        own = np.where(table["has_risk"], table["probability"], 1 - table["probability"])
        np.testing.assert_allclose(table["surprise"], -np.log2(own), rtol=1e-4)
        wrong = table["why"] != "uncertain"
        assert ((table["probability"] >= 0.5) != table["has_risk"])[wrong].all()

    def test_the_gallery_of_images_to_look_at_follows_the_list(self, audited, clean):
        auditor, scores, maps = audited.auditor, audited.predictions, audited.maps
        table = list_for_review(scores, PARAMETERS)
        *_, figure = plot_galleries(auditor, clean.images, scores, maps, table, PARAMETERS)
        captions = [text.get_text() for axes in figure.axes for text in axes.texts]
        shown = [caption.split(":")[0] for caption in captions if "P = " in caption]
        assert shown == table["image_id"].head(PARAMETERS.shown).tolist()


class TestMetrics:
    NAMES = ("auroc", "auprc", "ece", "gap", "pointing_game", "iou")

    def test_they_have_the_contracts_names_and_form(self, audited, clean):
        metrics = clean.metrics(audited)
        rivals = [f"{m}_{r}" for m in ("pointing_game", "iou") for r in ("centre", "grad_cam")]
        assert {*self.NAMES, *rivals, "temperature", "ece_consistency_95"} <= metrics.keys()
        assert all(set(each) == {"value", "low", "high", "n"} for each in metrics.values())
        assert metrics["auroc"]["n"] == 200
        assert metrics["iou"]["n"] == 20
        assert metrics["iou"]["value"] == pytest.approx(audited.localisation["iou"].mean())

    def test_without_masks_they_are_null_and_the_checks_say_so(self, audited, clean, caplog):
        nothing = SimpleNamespace(**vars(audited) | {"localisation": audited.localisation.head(0)})
        metrics = clean.metrics(nothing)
        assert metrics["iou"] == {"value": None, "low": None, "high": None, "n": 0}
        assert metrics["auroc"]["value"] is not None

    def test_each_of_several_risks_has_its_own_beside_the_mean(self, clean):
        parameters = PARAMETERS.model_copy(
            update={"risks": RiskParams.model_validate({"risks": ["truck", "bird+frog"]}).risks}
        )
        several = clean.audit(parameters)
        metrics = clean.metrics(several)
        pair = [metrics[f"{risk}/auroc"]["value"] for risk in ("truck", "bird+frog")]
        assert metrics["auroc"]["value"] == pytest.approx(np.mean(pair))
        assert metrics["bird+frog/iou"]["n"] == 40
        assert several.maps["maps"].shape[1] == 2


class TestBadInput:
    def test_an_unknown_class_is_named(self, clean):
        with pytest.raises(ParameterError, match="class 'lorry', which the data does not have"):
            clean.fit(RiskParams(risks=["lorry"]))

    def test_it_is_named_before_anything_is_encoded(self, clean, tmp_path):
        store, unknown = EmbeddingStore(tmp_path / "store"), RiskParams(risks=["lorry"])
        with pytest.raises(ParameterError, match="class 'lorry'"):
            store_features(clean.images, clean.fitting, store, BACKBONE, unknown)
        assert not (tmp_path / "store").exists()

    def test_all_positives(self, clean):
        with pytest.raises(SplitError, match=r"All of the .* have the risk 'any'"):
            clean.fit(RiskParams(risks=[{"name": "any", "classes": CLASSES}]))

    def test_no_positives(self, clean):
        fitting = clean.fitting[clean.fitting["label"] != "truck"]
        with pytest.raises(SplitError, match=r"None of the .* have the risk 'truck'"):
            fit_auditor(clean.images, fitting, clean.store, clean.plan, BACKBONE, PARAMETERS, 0)

    def test_one_image_with_the_risk_trains_and_is_warned_of(self, clean, caplog):
        trucks = clean.fitting.index[clean.fitting["label"] == "truck"]
        fitting = clean.fitting.drop(trucks[1:]).reset_index(drop=True)
        with caplog.at_level(logging.WARNING):
            _, log = fit_auditor(
                clean.images, fitting, clean.store, clean.plan, BACKBONE, PARAMETERS, 0
            )
        assert "imbalance" in caplog.text
        assert log["validation_auroc"].isna().all()

    def test_a_split_of_one_image_has_no_ranking_and_no_interval(self, audited, clean):
        one = select_test(clean.images, clean.samples, audited.logits, audited.predictions).head(1)
        metrics = compute_metrics(
            one, clean.samples, audited.temperatures, EvaluateParams(n_resamples=60), 0
        )
        assert metrics["auroc"] == {"value": None, "low": None, "high": None, "n": 1}
        assert metrics["accuracy"]["low"] is None

    def test_a_reference_on_other_features_is_refused(self, audited, clean):
        given = clean.images, clean.fitting, clean.store, clean.plan | {"encoder_key": "another"}
        with pytest.raises(ArtifactError, match="features of another encoder"):
            fit_reference(audited.auditor, *given, BACKBONE, PARAMETERS, 0)

    @pytest.mark.parametrize(
        ("risks", "message"), [([], "at least 1"), (["truck", "truck"], "a name stands twice")]
    )
    def test_a_list_of_risks_that_makes_no_sense(self, risks, message):
        with pytest.raises(ValueError, match=message):
            RiskParams(risks=risks)


@pytest.fixture
def short_ablation(monkeypatch):
    """Return parameters of a single epoch; the ablation then trains each variant from two seeds."""
    monkeypatch.setattr(ablation_nodes, "REPLICATES", 2)
    return PARAMETERS.model_copy(
        update={"training": PARAMETERS.training.model_copy(update={"epochs": 1})}
    )


def ablate(data, variants, parameters, seed=0):
    """Return the training histories, and the measures of all trainings."""
    given = data.images, variants, data.store, data.plan, BACKBONE, parameters
    histories = fit_variants(*given, data.fitting, seed)
    return histories, measure_variants(*given, data.samples, histories)


def test_the_ablation_varies_one_thing_at_a_time(clean, short_ablation, tmp_path):
    parameters, variants = short_ablation, VariantStore(tmp_path, "classifier")
    _, runs = ablate(clean, variants, parameters)
    assert variants.names() == sorted(
        f"{name}_{replicate}".replace(" ", "_")
        for name in ablations(parameters)
        for replicate in range(2)
    )
    table = compare_variants(runs, parameters).set_index("variant")
    assert list(table.index) == list(ablations(parameters))
    assert table.loc["without patch", ["bce", "ranking", "patch"]].tolist() == [1, 1, 0]
    assert table.loc["bce alone", ["bce", "ranking", "patch"]].tolist() == [1, 0, 0]
    assert set(table["pooling"]) == {"average", "max", "top_k_mean", "attention"}
    assert table["auroc"].between(0, 1).all()
    assert pd.isna(table.loc["as configured", "iou_verdict"])
    assert table["iou_verdict"].drop("as configured").isin(["higher", "lower", "unresolved"]).all()
    assert (table["seeds"] == 2).all()
    auroc = runs.set_index("variant")["auroc"]
    assert table.loc["bce alone", "auroc"] == pytest.approx(auroc["bce alone"].mean())
    difference = auroc["bce alone"].mean() - auroc["as configured"].mean()
    assert table.loc["bce alone", "auroc_difference"] == pytest.approx(difference)
    assert runs.groupby("variant")["auroc"].nunique().max() == 2  # each replicate has its own seed


def test_a_finished_variant_is_read_and_another_is_trained(
    clean, short_ablation, tmp_path, monkeypatch
):
    variants, notes, trained = VariantStore(tmp_path, "classifier"), [], []

    def train(*args):
        trained.append(args)
        return train_risk_head(*args)

    def observe(variant, results, finished):
        notes.append((variant, *results, finished))

    monkeypatch.setattr(nodes, "train_risk_head", train)
    monkeypatch.setattr(ablation_nodes, "LOSSES", ())
    histories, runs = ablate(clean, variants, short_ablation)
    assert len(trained) == 8  # as configured and three poolings, two seeds each
    variants.observe = observe
    again, runs_again = ablate(clean, variants, short_ablation)
    assert len(trained) == 8
    pd.testing.assert_frame_equal(again, histories)
    pd.testing.assert_frame_equal(runs_again, runs)
    assert [note for note in notes if note[0] == "as_configured_0"] == [
        ("as_configured_0", False),
        ("as_configured_0", "audit_log", False),
        ("as_configured_0", "metrics", True),
    ]
    ablate(clean, variants, short_ablation, seed=2)
    assert len(trained) == 16
    ablate(
        clean,
        variants,
        short_ablation.model_copy(update={"risks": (Risk.model_validate("bird"),)}),
        2,
    )
    assert len(trained) == 24


def test_what_needs_masks_has_no_verdict_without_them(short_ablation):
    runs = pd.DataFrame(
        [
            {"variant": name, "auroc": 0.5, "gap": 1.0, "pointing_game": np.nan, "iou": np.nan}
            for name in ablations(short_ablation)
            for _ in range(2)
        ]
    )
    table = compare_variants(runs, short_ablation)
    assert table.filter(regex="^(iou|pointing_game)").isna().all(axis=None)
    assert (table["auroc_verdict"][1:] == "unresolved").all()
