"""`train_heads` as Kedro runs it, on a real tiny encoder and made-up embeddings; what each baseline stands for."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from kedro.io import DataCatalog
from kedro.runner import SequentialRunner
from pydantic import ValidationError
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from glasshead.embedding.hashes import as_hashes
from glasshead.embedding.store import Embeddings
from glasshead.errors import ArtifactError, ParameterError, SplitError
from glasshead.images.captions import all_words
from glasshead.images.fitting import select_fitting_samples
from glasshead.images.sources.base import plain_record
from glasshead.images.table import ImageTable, content_hash
from glasshead.images.taxonomy import parse_taxonomy
from glasshead.models.backbone import BackboneParams
from glasshead.models.classifier import Concept
from glasshead.models.clip import load_encoder
from glasshead.models.heads import Bottleneck, GlassHeads
from glasshead.models.nano_clip import NanoClip, NanoClipParams
from glasshead.models.text import load_text_encoder
from glasshead.pipelines.train_heads.nodes import (
    TrainHeadsParams,
    fit_heads,
    predict_baselines,
    predict_logits,
    random_codes,
)
from glasshead.pipelines.train_heads.pipeline import create_pipeline
from glasshead.reporting.training_figures import plot_training_history

CONF = Path(__file__).parents[2] / "conf" / "base"
CLASSES = ("bird", "cat", "dog", "ship")
DIMENSION = 8
TAXONOMY = parse_taxonomy(
    "mine",
    {
        "mine": {
            "subtasks": {
                "wings": {"map": {"yes": ["bird"], "no": ["cat", "dog", "ship"]}},
                "home": {"map": {"indoors": ["cat"], "wild": ["bird", "dog"], "sea": ["ship"]}},
                "light": {"attribute": "light", "values": ["dark", "bright"]},
            }
        }
    },
    CLASSES,
).model_dump(mode="json")
PARAMETERS = TrainHeadsParams.model_validate(
    {
        "hidden": 8,
        "meta_hidden": 8,
        "training": {"epochs": 12, "batch_size": 32, "learning_rate": 0.02},
        "random_concept_seeds": 2,
    }
)
SPLITS = ["train", "train", "validation", "train", "calibration", "train", "test"]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> BackboneParams:
    folder = tmp_path_factory.mktemp("backbone") / "nano"
    torch.manual_seed(0)
    shape = NanoClipParams(width=16, layers=1, heads=2, text_width=16, projection=DIMENSION)
    NanoClip.build(shape, all_words()).save(folder)
    return BackboneParams(name=str(folder))


def make_samples(n: int = 560) -> pd.DataFrame:
    """Return samples of which a third of the train rows are ships, and most of the test rows cats."""
    rng = np.random.default_rng(0)
    split = np.resize(SPLITS, n)
    index = rng.choice(4, size=n, p=[0.2, 0.2, 0.2, 0.4])
    index[(split == "test") & (rng.random(n) < 0.7)] = 1
    return pd.DataFrame(
        {
            "image_id": [f"train/{row:06d}" for row in range(n)],
            "content_hash": [content_hash(f"train/{row:06d}".encode()) for row in range(n)],
            "label": np.array(CLASSES)[index],
            "class_index": index,
            "split": split,
            "target/wings": np.array([0, 1, 1, 1])[index],
            "target/home": np.array([1, 0, 1, 2])[index],
            "target/light": rng.integers(0, 2, n),
        }
    )


def make_embeddings(samples: pd.DataFrame, encoder_key: str = "") -> Embeddings:
    """Return embeddings in which class and light are plain to see, under noise."""
    rng = np.random.default_rng(1)
    directions = 2 * rng.normal(size=(5, DIMENSION))
    values = directions[samples["class_index"]] + np.outer(samples["target/light"], directions[4])
    values = values + rng.normal(scale=0.7, size=values.shape)
    hashes = as_hashes(samples["content_hash"])
    return Embeddings(samples["image_id"], hashes, values.astype(np.float32), encoder_key)


def make_images(samples: pd.DataFrame) -> ImageTable:
    records = (
        plain_record(row.image_id, row.image_id.encode(), row.label, None)
        for row in samples.itertuples()
    )
    return ImageTable.from_records(records, CLASSES)


def run(folder, backbone, samples, embeddings=None, parameters=PARAMETERS, seed=0):
    """Run the pipeline on the catalog entries of conf/base, their files moved below `folder`."""
    text = (CONF / "catalog_train_heads.yml").read_text() + (
        CONF / "catalog_evaluate.yml"
    ).read_text()
    text = text.replace("${globals:figure_dpi}", "50")
    entries = {
        name.replace("{classifier}.", ""): {
            key: str(folder / value).replace("{classifier}", "heads").replace("{name}", "history")
            if key == "filepath"
            else value
            for key, value in entry.items()
        }
        for name, entry in yaml.safe_load(text).items()
    }
    entries["training_history_figure"] = entries.pop("{name}_figure")
    catalog = DataCatalog.from_config(entries)
    catalog["images"], catalog["samples"] = make_images(samples), samples
    embeddings = embeddings or make_embeddings(samples)
    catalog["embeddings"] = replace(embeddings, encoder_key=load_encoder(backbone).key)
    catalog["taxonomy"] = TAXONOMY
    catalog["params:backbone"] = backbone
    catalog["params:train_heads"] = parameters
    catalog["params:seed"] = seed
    SequentialRunner().run(create_pipeline(), catalog)
    return catalog


@pytest.fixture(scope="module")
def samples() -> pd.DataFrame:
    return make_samples()


@pytest.fixture(scope="module")
def catalog(tmp_path_factory, backbone, samples) -> DataCatalog:
    return run(tmp_path_factory.mktemp("run"), backbone, samples)


def accuracy(predicted: pd.Series, samples: pd.DataFrame, split: str) -> float:
    chosen = samples["split"] == split
    return float((predicted[chosen].to_numpy() == samples.loc[chosen, "label"].to_numpy()).mean())


class TestClassifier:
    def test_it_learns_and_says_what_it_is(self, catalog, samples, backbone):
        classifier = catalog.load("uncalibrated")
        assert classifier.classes == CLASSES
        assert {c.name: c.values for c in classifier.concepts} == {
            "wings": ("yes", "no"),
            "home": ("indoors", "wild", "sea"),
            "light": ("dark", "bright"),
        }
        assert classifier.temperature == 1.0
        provenance = classifier.provenance
        assert provenance["data"] == make_images(samples).digest()
        assert (provenance["backbone"], provenance["seed"]) == (backbone.name, 0)
        assert provenance["taxonomy"] == "mine"

    def test_logits_of_all_rows_are_the_bottlenecks(self, catalog, samples):
        logits, classifier = catalog.load("logits"), catalog.load("uncalibrated")
        assert list(logits) == [
            *["image_id", "split", "label", "target/wings", "target/home", "target/light"],
            *[f"logit/{name}" for name in CLASSES],
            *["concept_logit/wings/yes", "concept_logit/wings/no"],
            *[f"concept_logit/home/{value}" for value in ("indoors", "wild", "sea")],
            *["concept_logit/light/dark", "concept_logit/light/bright"],
        ]
        pd.testing.assert_frame_equal(logits[["image_id", "split"]], samples[["image_id", "split"]])
        values = torch.from_numpy(make_embeddings(samples).values)
        with torch.inference_mode():
            expected = classifier.bottleneck(values).numpy()
            concepts = classifier.bottleneck.concept_logits(values).numpy()
        np.testing.assert_allclose(logits.filter(regex="^logit/"), expected, atol=1e-5)
        np.testing.assert_allclose(logits.filter(like="concept_logit/"), concepts, atol=1e-5)
        predicted = pd.Series(np.array(CLASSES)[expected.argmax(axis=1)])
        assert accuracy(predicted, samples, "test") > 0.7

    def test_logits_are_those_of_the_classifier_on_the_images(self, catalog, samples):
        classifier, few = catalog.load("uncalibrated"), samples.head(5)
        images = torch.rand(5, 3, 32, 32)
        with torch.inference_mode():
            values = classifier.embed(images).numpy()
            expected = classifier(images).numpy()
        embeddings = replace(make_embeddings(few, classifier.encoder_key), values=values)
        logits = predict_logits(classifier, embeddings, few).filter(regex="^logit/")
        np.testing.assert_allclose(logits, expected, atol=1e-5)

    def test_the_audit_log_has_a_row_an_epoch(self, catalog):
        log = catalog.load("training_history")
        assert list(log) == [
            *["epoch", "phase", "train_loss", "validation_loss", "validation_accuracy"]
        ]
        assert log["epoch"].tolist() == list(range(1, len(log) + 1))
        assert 1 < len(log) <= 12
        assert log["train_loss"].iloc[-1] < log["train_loss"].iloc[0]


class TestFittingRows:
    def test_only_train_and_validation_rows_are_selected(self, samples):
        chosen = select_fitting_samples(make_images(samples), samples)
        assert set(chosen["split"]) == {"train", "validation"}
        assert list(chosen.index) == list(range(len(chosen)))
        kept = samples["split"].isin(["train", "validation"])
        assert chosen["image_id"].tolist() == samples.loc[kept, "image_id"].tolist()

    def test_calibration_and_test_rows_decide_nothing(self, catalog, samples, backbone, tmp_path):
        held = samples["split"].isin(["calibration", "test"]).to_numpy()
        changed = samples.copy()
        changed.loc[held, ["label", "class_index", "target/wings"]] = ["bird", 0, 0]
        embeddings = make_embeddings(samples)
        embeddings.values[held] = 1e3
        other = run(tmp_path, backbone, changed, embeddings)
        pd.testing.assert_frame_equal(
            other.load("training_history"), catalog.load("training_history")
        )
        ours, theirs = (c.load("uncalibrated").own_state() for c in (catalog, other))
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        baselines = [c.load("baselines")[~held].drop(columns="image_id") for c in (catalog, other)]
        pd.testing.assert_frame_equal(*baselines)

    def test_validation_rows_choose_but_are_not_fitted_on(self, samples, backbone, tmp_path):
        """One epoch, whose weights are kept whatever validation says: they are those of the train rows alone."""
        once = PARAMETERS.model_copy(
            update={"training": PARAMETERS.training.model_copy(update={"epochs": 1})}
        )
        changed = make_embeddings(samples)
        changed.values[samples["split"] == "validation"] *= -1
        states = [
            run(tmp_path / name, backbone, samples, embeddings, once)
            .load("uncalibrated")
            .own_state()
            for name, embeddings in (("plain", None), ("changed", changed))
        ]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])

    def test_a_missing_split_or_class_is_named(self, samples):
        without = samples[samples["split"] != "validation"]
        images = make_images(without)
        with pytest.raises(
            SplitError, match=r"'train': \d+.*raise `preprocess.validation_fraction`"
        ):
            select_fitting_samples(images, without)
        without = (samples["split"] != "train") | ~samples["label"].isin(["cat", "ship"])
        images = make_images(samples[without])
        with pytest.raises(SplitError, match="No train row has the class cat, ship"):
            select_fitting_samples(images, samples[without])


class TestReproducibility:
    def test_a_seed_gives_the_same_bytes_and_another_seed_others(
        self, catalog, samples, backbone, tmp_path
    ):
        run(tmp_path / "again", backbone, samples)
        run(tmp_path / "other", backbone, samples, seed=1)
        again, other = (
            {
                path.name: path.read_bytes()
                for path in (tmp_path / name).rglob("*.*")
                if path.is_file()
            }
            for name in ("again", "other")
        )
        first = Path(catalog["logits"]._filepath).parents[3]
        assert again == {p.name: p.read_bytes() for p in first.rglob("*.*") if p.is_file()}
        assert len(again) >= 7
        for name in ("logits.parquet", "audit_log.csv", "model.safetensors"):
            assert again[name] != other[name]

    def test_rows_are_matched_by_content_not_by_place(self, catalog, samples):
        classifier = catalog.load("uncalibrated")
        embeddings = make_embeddings(samples, classifier.encoder_key)
        order = np.random.default_rng(0).permutation(len(samples))
        shuffled = replace(
            embeddings,
            image_id=embeddings.image_id.iloc[order],
            hashes=embeddings.hashes[order],
            values=embeddings.values[order],
        )
        pd.testing.assert_frame_equal(
            predict_logits(classifier, shuffled, samples),
            predict_logits(classifier, embeddings, samples),
        )

    def test_embeddings_of_other_images_are_refused(self, catalog, samples):
        classifier = catalog.load("uncalibrated")
        embeddings = make_embeddings(samples.iloc[:-1], classifier.encoder_key)
        with pytest.raises(ArtifactError, match=r"1 of 560 images have no embedding"):
            predict_logits(classifier, embeddings, samples)

    def test_embeddings_of_another_encoder_are_refused(self, catalog, samples, backbone):
        other = make_embeddings(samples, "0" * 32)
        with pytest.raises(ArtifactError, match=r"from another backbone.*--pipelines=embed`"):
            predict_logits(catalog.load("uncalibrated"), other, samples)
        images = make_images(samples)
        fitting = select_fitting_samples(images, samples)
        with pytest.raises(ArtifactError, match="come from another backbone"):
            fit_heads(other, fitting, images, TAXONOMY, backbone, PARAMETERS, 0)

    def test_heads_read_the_output_that_was_embedded(self, samples, backbone):
        encoder = load_encoder(backbone, "pooled")
        embeddings = make_embeddings(samples, encoder.key)
        wide = replace(embeddings, values=np.tile(embeddings.values, 2))
        fitting, images = (
            select_fitting_samples(make_images(samples), samples),
            make_images(samples),
        )
        heads, _ = fit_heads(wide, fitting, images, TAXONOMY, backbone, PARAMETERS, 0)
        assert (heads.encoder.output, heads.encoder_key) == ("pooled", encoder.key)
        assert heads(torch.rand(2, 3, 32, 32)).shape == (2, len(CLASSES))

    def test_spatial_embeddings_are_refused(self, samples, backbone):
        spatial = SimpleNamespace(values=np.ones((len(samples), 64, 16), np.float32))
        fitting, images = (
            select_fitting_samples(make_images(samples), samples),
            make_images(samples),
        )
        with pytest.raises(ParameterError, match=r"are 64 × 16\. Set `embed.output` to projected"):
            fit_heads(spatial, fitting, images, TAXONOMY, backbone, PARAMETERS, 0)


def baselines_of(
    classifier: GlassHeads, embeddings: Embeddings, samples: pd.DataFrame
) -> pd.DataFrame:
    fitting = select_fitting_samples(make_images(samples), samples)
    short = PARAMETERS.model_copy(
        update={"training": PARAMETERS.training.model_copy(update={"epochs": 1})}
    )
    return predict_baselines(classifier, embeddings, fitting, TAXONOMY, short, seed=0)


class TestBaselines:
    def test_there_is_a_row_an_image_and_a_column_a_baseline(self, catalog, samples):
        baselines = catalog.load("baselines")
        assert list(baselines) == [
            *["image_id", "majority", "linear_probe", "hard_concepts"],
            *["random_concepts/0", "random_concepts/1", "zero_shot"],
        ]
        assert baselines["image_id"].tolist() == samples["image_id"].tolist()
        assert set(baselines.drop(columns="image_id").to_numpy().ravel()) <= set(CLASSES)

    def test_majority_is_the_most_frequent_train_class(self, catalog, samples):
        train = samples.loc[samples["split"] == "train", "label"]
        assert (
            train.mode().item()
            == "ship"
            != samples.loc[samples["split"] == "test", "label"].mode().item()
        )
        assert set(catalog.load("baselines")["majority"]) == {"ship"}

    def test_the_linear_probe_sees_what_the_embeddings_hold(self, catalog, samples):
        assert accuracy(catalog.load("baselines")["linear_probe"], samples, "test") > 0.85

    def test_hard_concepts_are_the_classifiers_own_answers_rounded(self, catalog, samples):
        classifier = catalog.load("uncalibrated")
        logits = catalog.load("logits")
        codes = []
        for concept in classifier.concepts:
            part = logits[[f"concept_logit/{concept.name}/{value}" for value in concept.values]]
            codes.append(np.eye(len(concept.values))[part.to_numpy().argmax(axis=1)])
        hard = torch.from_numpy(np.concatenate(codes, axis=1)).float()
        with torch.inference_mode():
            expected = classifier.bottleneck.meta(hard).argmax(dim=1).numpy()
        assert catalog.load("baselines")["hard_concepts"].tolist() == [CLASSES[i] for i in expected]

    def test_random_concepts_train_the_same_bottleneck_on_random_codes(
        self, catalog, samples, monkeypatch
    ):
        seen = []
        monkeypatch.setattr(
            "glasshead.pipelines.train_heads.nodes.train_bottleneck",
            lambda model, train, validation, params, seed: (
                seen.append((model, train, params)) or []
            ),
        )
        predict_baselines(
            catalog.load("uncalibrated"),
            make_embeddings(samples, catalog.load("uncalibrated").encoder_key),
            select_fitting_samples(make_images(samples), samples),
            TAXONOMY,
            PARAMETERS,
            seed=0,
        )
        codes = []
        for model, train, params in seen:
            assert model.shape == catalog.load("uncalibrated").bottleneck.shape
            assert params == PARAMETERS.training
            table = pd.DataFrame(train.targets.numpy()).groupby(train.labels.numpy())
            assert (table.nunique() == 1).all(axis=None)  # a code depends on the class alone
            codes.append(table.first().to_numpy())
        assert len(codes) == 2
        assert not np.array_equal(*codes)

    def test_zero_shot_is_the_class_whose_prompt_an_embedding_points_to(self, catalog, samples):
        classifier = catalog.load("uncalibrated")
        texts = load_text_encoder(classifier.encoder.backbone)
        vectors = texts([f"a photo of a {name}" for name in CLASSES]).numpy()
        planted = make_embeddings(samples, classifier.encoder_key)
        lengths = np.random.default_rng(2).uniform(0.01, 100, (len(samples), 1))
        planted.values[:] = lengths * vectors[samples["class_index"]]
        baselines = baselines_of(classifier, planted, samples)
        assert baselines["zero_shot"].tolist() == samples["label"].tolist()
        planted.values[:] = lengths * vectors[(samples["class_index"] + 1) % 4]
        baselines = baselines_of(classifier, planted, samples)
        assert not (baselines["zero_shot"] == samples["label"]).any()

    @pytest.mark.parametrize(
        ("output", "removed", "classes", "reason"),
        [
            ("pooled", None, CLASSES, "of `embed.output` projected, not of pooled"),
            ("projected", "tokenizer.json", CLASSES, "has no tokenizer"),
            ("projected", None, ("ship " * 20, *CLASSES[1:]), "26 tokens.*reads 16"),
        ],
    )
    def test_without_vectors_of_the_prompts_there_is_no_zero_shot(
        self, backbone, samples, tmp_path, caplog, output, removed, classes, reason
    ):
        folder = shutil.copytree(backbone.name, tmp_path / "backbone")
        if removed:
            (folder / removed).unlink()
        encoder = load_encoder(BackboneParams(name=str(folder)), output)
        embeddings = make_embeddings(samples, encoder.key)
        width = encoder.dimension // DIMENSION
        embeddings = replace(embeddings, values=np.tile(embeddings.values, width))
        concepts = [Concept(task["name"], tuple(task["values"])) for task in TAXONOMY["subtasks"]]
        bottleneck = Bottleneck(encoder.dimension, (2, 3, 2), 4, 8, 8)
        heads = GlassHeads(encoder, bottleneck, classes, tuple(concepts), {})
        assert "zero_shot" not in baselines_of(heads, embeddings, samples)
        assert re.search(f"No zero-shot baseline: .*{reason}", caplog.text)

    def test_a_backbone_without_a_text_tower_has_no_zero_shot(self, samples, tmp_path, caplog):
        config = CLIPVisionConfig(
            hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
            image_size=8, patch_size=4, projection_dim=DIMENSION,
        )  # fmt: skip
        CLIPVisionModelWithProjection(config).save_pretrained(tmp_path)
        CLIPImageProcessor(size=8, crop_size=8).save_pretrained(tmp_path)
        encoder = load_encoder(BackboneParams(name=str(tmp_path)))
        concepts = [Concept(task["name"], tuple(task["values"])) for task in TAXONOMY["subtasks"]]
        bottleneck = Bottleneck(DIMENSION, (2, 3, 2), 4, 8, 8)
        heads = GlassHeads(encoder, bottleneck, CLASSES, tuple(concepts), {})
        embeddings = make_embeddings(samples, encoder.key)
        assert "zero_shot" not in baselines_of(heads, embeddings, samples)
        assert re.search("No zero-shot baseline: .*has no text tower", caplog.text)

    @pytest.mark.parametrize("classes", [2, 10, 37])
    def test_random_codes_use_every_answer(self, classes):
        widths = (2, 3, 6)
        codes = random_codes(classes, widths, np.random.default_rng(0)).numpy()
        assert codes.shape == (classes, 3)
        for column, width in zip(codes.T, widths, strict=True):
            counts = np.bincount(column, minlength=width)
            assert len(counts) == width
            assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("mode", ["joint", "sequential", "independent"])
def test_the_history_is_drawn_with_a_line_between_phases(mode):
    phases = ["joint"] * 4 if mode == "joint" else ["heads", "heads", "meta", "meta"]
    log = pd.DataFrame(
        {
            "epoch": [1, 2, 3, 4],
            "phase": phases,
            "train_loss": [4.0, 3.0, 2.0, 1.0],
            "validation_loss": [4.5, 3.5, 2.5, 1.5],
            "validation_accuracy": [0.1, 0.2, 0.3, 0.4],
        }
    )
    losses, right = plot_training_history(log).axes
    for axes, measure in ((losses, "loss"), (right, "accuracy")):
        curves = {line.get_label(): line.get_ydata() for line in axes.lines}
        drawn = {split for split in ("train", "validation") if f"{split}_{measure}" in log}
        assert drawn == {text.get_text() for text in axes.get_legend().get_texts()}
        for split in drawn:
            np.testing.assert_array_equal(curves[split], log[f"{split}_{measure}"])
    breaks = [line.get_xdata()[0] for line in losses.lines if line.get_linestyle() == ":"]
    assert breaks == ([] if mode == "joint" else [2.5])


def test_the_shipped_parameters_are_valid_and_mistyped_ones_are_not():
    shipped = yaml.safe_load((CONF / "parameters_train_heads.yml").read_text())["train_heads"]
    assert TrainHeadsParams.model_validate(shipped).training.mode == "joint"
    for wrong in (
        {"hidden": 0},
        {"probe_strengths": []},
        {"training": {"mode": "x"}},
        {"width": 1},
    ):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            TrainHeadsParams.model_validate(shipped | wrong)
