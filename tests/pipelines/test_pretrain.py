"""`pretrain`: what may train, what only measures, and that its result loads like any backbone."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from kedro.io import DataCatalog
from kedro.runner import SequentialRunner
from PIL import Image
from pydantic import ValidationError

from glasshead.errors import ParameterError, SourceError
from glasshead.images.captions import UNKNOWN, all_words
from glasshead.images.scenes import CLASSES
from glasshead.images.sources.params import IngestParams
from glasshead.images.sources.read import read_source
from glasshead.images.splits import assign_splits
from glasshead.models.backbone import BackboneParams
from glasshead.models.clip import load_encoder
from glasshead.models.nano_clip import NanoClip
from glasshead.models.probe import fit_linear_probe
from glasshead.pipelines.preprocess.nodes import PreprocessParams
from glasshead.pipelines.pretrain import nodes
from glasshead.pipelines.pretrain.nodes import (
    PretrainParams,
    collect_pairs,
    measure_nano_clip,
    train_nano_clip,
    write_nano_clip_card,
)
from glasshead.pipelines.pretrain.pipeline import create_pipeline

CONF = Path(__file__).parents[2] / "conf" / "base"
MODEL = {"width": 16, "layers": 1, "heads": 2, "text_width": 16, "projection": 8, "patch_size": 8}


def parameters(**changes) -> PretrainParams:
    tiny = {
        "scenes": {"train": 200, "test": 40},
        "model": MODEL,
        "training": {"steps": 6, "batch_size": 16},
        "device": "cpu",
    }
    return PretrainParams.model_validate(tiny | changes)


def png(seed: int, size: int = 32) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_photographs(folder: Path, classes: tuple[str, ...] = CLASSES, size: int = 32) -> Path:
    """Write train.parquet (20 images a class) and test.parquet (3 a class) of noise, in the Hugging Face layout."""
    folder.mkdir()
    for split, each, offset in (("train", 20, 0), ("test", 3, 100_000)):
        labels = [name for name in classes for _ in range(each)]
        images = [{"bytes": png(offset + k, size), "path": None} for k in range(len(labels))]
        pq.write_table(pa.table({"image": images, "label": labels}), folder / f"{split}.parquet")
    return folder


def by_split(pairs, source, split):
    return pairs["images"][(pairs["source"] == source) & (pairs["split"] == split)]


def as_set(images):
    return {image.tobytes() for image in images}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photographs") / "cifar")


@pytest.fixture(scope="module")
def pairs(photographs) -> dict:
    return collect_pairs(parameters(parquet=photographs), seed=0)


@pytest.fixture(scope="module")
def trained(pairs):
    return train_nano_clip(pairs, parameters(), seed=0)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory) -> DataCatalog:
    folder = tmp_path_factory.mktemp("run")
    entries = yaml.safe_load((CONF / "catalog_pretrain.yml").read_text())
    for entry in entries.values():
        entry["filepath"] = str(folder / entry["filepath"])
    catalog = DataCatalog.from_config(entries)
    catalog["params:pretrain"], catalog["params:seed"] = parameters(), 0
    SequentialRunner().run(create_pipeline(), catalog)
    return catalog


class TestPairs:
    def test_images_stand_beside_what_is_known_of_them(self, pairs):
        count = len(pairs["images"])
        assert {key: (len(value), value.dtype.kind) for key, value in pairs.items()} == {
            "images": (count, "u"),
            "facts": (count, "i"),
            "split": (count, "U"),
            "source": (count, "U"),
        }
        assert pairs["images"].shape[1:] == (3, 32, 32)
        scenes = pairs["source"] == "scenes"
        assert (pairs["facts"][scenes] != UNKNOWN).all()
        assert (pairs["facts"][~scenes, 1:] == UNKNOWN).all()
        for where in (scenes, ~scenes):
            assert set(pairs["facts"][where, 0]) == set(range(10))

    def test_pixels_labels_and_splits_are_those_of_preprocess(self, pairs, photographs):
        source = IngestParams.model_validate(
            {"source": "parquet", "parquet": {"path": str(photographs)}}
        )
        table = read_source(source, 0).images
        frame, defaults = table.frame(), PreprocessParams()
        splits = assign_splits(frame, defaults.validation_fraction, defaults.calibration_fraction)
        assert set(splits) == {"train", "validation", "calibration", "test"}
        expected = {
            (
                np.asarray(table.pil(row)).transpose(2, 0, 1).tobytes(),
                CLASSES.index(frame["label"][row]),
                splits[row],
            )
            for row in range(len(table))
            if splits[row] != "calibration"
        }
        ours = pairs["source"] == "parquet"
        columns = (pairs["images"][ours], pairs["facts"][ours, 0], pairs["split"][ours])
        found = [
            (image.tobytes(), label, split) for image, label, split in zip(*columns, strict=True)
        ]
        assert set(found) == expected
        assert len(found) == len(expected)

    def test_scenes_are_new_to_those_of_ingest(self, pairs):
        ingested = read_source(
            IngestParams.model_validate({"scenes": {"train": 200, "test": 40}}), 0
        )
        pixels = {
            np.asarray(ingested.images.pil(row)).transpose(2, 0, 1).tobytes()
            for row in range(len(ingested.images))
        }
        assert not pixels & as_set(pairs["images"])

    def test_the_splits_of_a_source_share_no_image(self, pairs):
        for source in ("scenes", "parquet"):
            parts = [as_set(by_split(pairs, source, s)) for s in ("train", "validation", "test")]
            assert all(parts)
            assert sum(map(len, parts)) == len(set.union(*parts))

    def test_larger_photographs_are_brought_to_size(self, tmp_path):
        larger = parameters(parquet=write_photographs(tmp_path / "large", size=48))
        images = collect_pairs(larger, seed=0)["images"]
        assert images.shape[1:] == (3, 32, 32)
        assert images.dtype == np.uint8

    def test_without_photographs_scenes_alone(self):
        assert set(collect_pairs(parameters(), seed=0)["source"]) == {"scenes"}

    def test_other_classes_are_refused(self, tmp_path):
        folder = write_photographs(tmp_path / "other", classes=("cat", "tractor"))
        with pytest.raises(SourceError, match=r"captions for airplane.*parquet has cat, tractor"):
            collect_pairs(parameters(parquet=folder), seed=0)


class TestTraining:
    def test_only_train_rows_reach_the_training(self, pairs, monkeypatch):
        """Every other row is turned into a white marker with another class: no marker may be among what trains."""
        marked = {key: value.copy() for key, value in pairs.items()}
        others = pairs["split"] != "train"
        marked["images"][others], marked["facts"][others] = 255, 7
        seen = []
        monkeypatch.setattr(
            nodes, "train_clip", lambda model, data, *rest: seen.append(data) or [0.0]
        )
        _, _, run = train_nano_clip(marked, parameters(), seed=0)
        assert not (seen[0].images == 255).all(dim=3).all(dim=2).any()
        np.testing.assert_array_equal(seen[0].images, pairs["images"][~others])
        np.testing.assert_array_equal(seen[0].facts, pairs["facts"][~others])
        assert run["train_images"] == (~others).sum() == 320

    def test_markers_in_validation_and_test_leave_every_weight_as_it_is(self, pairs, trained):
        marked = {key: value.copy() for key, value in pairs.items()}
        others = pairs["split"] != "train"
        marked["images"][others], marked["facts"][others] = 255, 7
        again, log, _ = train_nano_clip(marked, parameters(), seed=0)
        for name, value in trained[0].model.state_dict().items():
            assert torch.equal(again.model.state_dict()[name], value), name
        assert log.equals(trained[1])

    def test_another_seed_gives_other_weights_and_other_scenes(self, pairs, trained):
        other, _, _ = train_nano_clip(pairs, parameters(), seed=1)
        weights = [n.model.visual_projection.weight for n in (trained[0], other)]
        assert not torch.equal(*weights)
        first, second = (as_set(collect_pairs(parameters(), seed)["images"]) for seed in (0, 1))
        assert not first & second

    def test_the_log_is_a_mean_of_fifty_steps_a_row(self, pairs, monkeypatch):
        losses = [float(step) for step in range(120)]
        monkeypatch.setattr(nodes, "train_clip", lambda *arguments: losses)
        _, log, _ = train_nano_clip(pairs, parameters(), seed=0)
        assert log.to_dict("list") == {"epoch": [1, 2, 3], "train_loss": [24.5, 74.5, 109.5]}

    def test_the_run_says_where_and_how_long(self, trained):
        _, _, run = trained
        assert run["device"] == "cpu"
        assert run["minutes"] > 0

    def test_a_gpu_that_is_not_there_is_an_error(self, pairs, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(ParameterError, match=r"pretrain.device is cuda"):
            train_nano_clip(pairs, parameters(device="cuda"), seed=0)


class TestMeasures:
    def test_zero_shot_is_the_nearest_of_ten_captions_on_the_test_split(self, trained, pairs):
        nano = trained[0]
        metrics = measure_nano_clip(nano, pairs)
        assert metrics.keys() == {"scenes", "parquet"}
        rows = (pairs["source"] == "scenes") & (pairs["split"] == "test")
        images = [Image.fromarray(image.transpose(1, 2, 0)) for image in pairs["images"][rows]]
        inputs = nano.processor(images, return_tensors="pt")
        prompts = nano.tokens([f"a photo of a {name}" for name in CLASSES])
        with torch.inference_mode():
            nearest = nano.model(**inputs, **prompts).logits_per_image.argmax(dim=1).numpy()
        expected = (nearest == pairs["facts"][rows, 0]).mean()
        assert metrics["scenes"]["zero_shot_accuracy"] == pytest.approx(expected)
        assert (metrics["scenes"]["test_images"], metrics["parquet"]["test_images"]) == (40, 30)

    def test_the_probe_is_fitted_on_train_and_chosen_on_validation(
        self, trained, pairs, monkeypatch
    ):
        fitted = []

        def spy(train, validation, strengths):
            fitted.append((len(train[1]), len(validation[1])))
            return fit_linear_probe(train, validation, strengths)

        monkeypatch.setattr(nodes, "fit_linear_probe", spy)
        measure_nano_clip(trained[0], pairs)
        counts = [
            tuple(
                int(((pairs["source"] == name) & (pairs["split"] == s)).sum())
                for s in ("train", "validation")
            )
            for name in ("parquet", "scenes")
        ]
        assert fitted == counts

    def test_labels_that_the_pixels_tell_are_found(self, pairs, trained):
        plain = {key: value.copy() for key, value in pairs.items()}
        levels = 25 * plain["facts"][:, 0].astype(np.uint8)
        plain["images"][:] = 0
        plain["images"][:, 0], plain["images"][:, 1] = (
            part[:, None, None] for part in (levels, 225 - levels)
        )
        measured = measure_nano_clip(trained[0], plain)
        assert all(found["linear_probe_accuracy"] > 0.8 for found in measured.values())

    def test_the_card_states_data_recipe_device_time_and_accuracy(self, trained, photographs):
        metrics = {
            "scenes": {
                "zero_shot_accuracy": 0.9,
                "linear_probe_accuracy": 0.9512,
                "test_images": 1000,
            },
            "parquet": {
                "zero_shot_accuracy": 0.8,
                "linear_probe_accuracy": 0.88,
                "test_images": 10000,
            },
        }
        run = {"device": "cuda", "minutes": 7.4, "train_images": 48000}
        recipe = parameters(parquet=photographs)
        card = write_nano_clip_card(trained[0], metrics, run, recipe)
        assert "| 0.9000 | 0.9512 | 1,000 |" in card
        assert "| 0.8000 | 0.8800 | 10,000 |" in card
        assert "48,000 training images" in card
        assert "CIFAR-10-JPEG" in card
        assert "7 minutes on one GPU" in card
        assert str(photographs) not in card  # a path of the machine that trained it
        front, metadata, _ = card.split("---\n", 2)
        assert front == ""
        assert yaml.safe_load(metadata)["license"] == "apache-2.0"
        shown = json.loads(card.split("```json\n")[1].split("```")[0])
        assert shown["training"]["steps"] == 6
        assert shown["model"]["width"] == 16

    def test_the_card_of_scenes_alone_claims_no_photographs(self, trained):
        metrics = {
            "scenes": {"zero_shot_accuracy": 0.9, "linear_probe_accuracy": 0.9, "test_images": 9}
        }
        run = {"device": "cpu", "minutes": 7.4, "train_images": 4}
        assert "CIFAR" not in write_nano_clip_card(trained[0], metrics, run, parameters())


class TestPipeline:
    def test_what_it_saves_is_a_backbone_like_any_other(self, catalog, trained):
        encoder = load_encoder(BackboneParams(name=str(catalog["nano_clip"]._filepath)))
        assert encoder.dimension == 8
        images = catalog.load("pretrain_pairs")["images"][:3]
        prepared = encoder.prepare([Image.fromarray(image.transpose(1, 2, 0)) for image in images])
        np.testing.assert_array_equal(prepared.numpy(), images)

    def test_everything_it_writes_lies_under_data(self):
        """Shipping weights is a step of its own: no output of a run lies in the package."""
        entries = yaml.safe_load((CONF / "catalog_pretrain.yml").read_text())
        assert create_pipeline().all_outputs() <= entries.keys()
        assert all(entry["filepath"].startswith("data/") for entry in entries.values())

    def test_two_runs_give_the_same_bytes_but_for_the_time(self, catalog, tmp_path):
        pairs = collect_pairs(parameters(), seed=0)
        nano, log, _ = train_nano_clip(pairs, parameters(), seed=0)
        nano.save(tmp_path / "nano")
        first = Path(catalog["nano_clip"]._filepath)
        for path in (tmp_path / "nano").iterdir():
            assert path.read_bytes() == (first / path.name).read_bytes(), path.name
        assert measure_nano_clip(nano, pairs) == catalog.load("nano_clip_metrics")
        np.testing.assert_allclose(
            log["train_loss"], catalog.load("nano_clip_training_history")["train_loss"]
        )


def test_the_shipped_parameters_are_valid_and_mistyped_ones_are_not():
    shipped = yaml.safe_load((CONF / "parameters_pretrain.yml").read_text())["pretrain"]
    params = PretrainParams.model_validate(shipped)
    model = NanoClip.build(params.model, all_words()).model
    assert sum(parameter.numel() for parameter in model.parameters()) <= 2.5e6
    for wrong in (
        {"scenes": {"trian": 3}},
        {"device": "tpu"},
        {"training": {"steps": 0}},
        {"lr": 1},
    ):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            PretrainParams.model_validate(shipped | wrong)
