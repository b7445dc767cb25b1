"""`train_transfer` as Kedro runs it, on small images whose class is a colour; parents, phases, resuming, reports."""

import io
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog
from kedro.runner import SequentialRunner
from PIL import Image
from pydantic import ValidationError

from glasshead.calibration.table import FINAL, read_heads
from glasshead.errors import ArtifactError, ParameterError
from glasshead.images.fitting import table_rows
from glasshead.images.scenes import scene_at
from glasshead.images.sources.base import plain_record
from glasshead.images.table import ImageTable
from glasshead.models.classifier import as_images
from glasshead.models.probe import STRENGTHS, fit_linear_probe
from glasshead.models.store import ClassifierStore, VariantStore
from glasshead.models.transfer import TransferClassifier
from glasshead.pipelines.train_transfer.comparison_nodes import (
    Variant,
    fit_variants,
    pretrain_parents,
)
from glasshead.pipelines.train_transfer.nodes import fit_transfer, pretrain_parent, train_parent
from glasshead.pipelines.train_transfer.params import TrainTransferParams
from glasshead.pipelines.train_transfer.pipeline import create_pipeline
from glasshead.settings import CONFIG_LOADER_ARGS
from glasshead.training.checkpoint import CheckpointFolder

CONF = Path(__file__).parents[2] / "conf"


def parameters() -> dict:
    """Return the parameters of the base environment, with references resolved."""
    loader = OmegaConfigLoader(str(CONF), env="base", **CONFIG_LOADER_ARGS)
    return loader["parameters"]


ADAMW = {"name": "adamw", "learning_rate": 0.01}
SMALL = {
    "network": {"width": 0.125, "pretrained": "none", "backbone_size": 32},
    "strategy": {"strategy": "full", "backbone_rate": 1.0},
    "augmentation": "none",
    "training": {"epochs": 3, "batch_size": 16, "optimiser": ADAMW},
    "parent": {
        "scenes": {"train": 60, "test": 20, "size": 32},
        "training": {"epochs": 2, "batch_size": 20, "optimiser": ADAMW},
    },
    "threads": 1,
}
NONE = {"pretrained": "none"}


def params(**changes: object) -> TrainTransferParams:
    """Return the small parameters; a mapping changes only what it names."""
    merged = {
        name: SMALL.get(name, {}) | change if isinstance(change, dict) else change
        for name, change in changes.items()
    }
    return TrainTransferParams.model_validate(SMALL | merged)


def own(**changes: object) -> TrainTransferParams:
    """Return those whose network begins with a parent that the run trains."""
    return params(network={"pretrained": "own"} | changes)


OWN = own()
COMPARED = TrainTransferParams.model_validate(
    SMALL | {"strategy": {"backbone_rate": 1.0}}  # nothing that a comparison chooses
)


@pytest.fixture(scope="module")
def catalog(training_catalog) -> DataCatalog:
    """The catalog after a run of parent and training on the entries of conf/base."""
    catalog = training_catalog()
    catalog["params:train_transfer"] = OWN
    SequentialRunner().run(create_pipeline(), catalog)
    return catalog


@pytest.fixture
def parents(catalog, tmp_path) -> ClassifierStore:
    """A copy of the store with the parent that the run trained."""
    shutil.copytree(catalog.load("transfer_parents").path, tmp_path / "parents")
    return ClassifierStore(tmp_path / "parents", "classifier")


def train(images, fitting, folder, parameters=None, seed=0, parent=NONE):
    checkpoints = CheckpointFolder(folder)
    return fit_transfer(images, fitting, parent, checkpoints, parameters or params(), seed)


def equal(first: TransferClassifier, second: TransferClassifier, prefix: str = "") -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours if name.startswith(prefix))


class TestRun:
    def test_the_classifier_learns_and_says_what_it_is(self, catalog, images):
        classifier = catalog.load("uncalibrated")
        assert isinstance(classifier, TransferClassifier)
        assert (classifier.input_size, classifier.network_size) == (16, 32)
        assert classifier.provenance["data"] == images.digest()
        assert classifier.provenance["strategy"]["strategy"] == "full"
        heads = read_heads(catalog.load("logits"))
        assert set(heads) == {FINAL}
        assert (heads[FINAL].logits.argmax(axis=1) == heads[FINAL].labels).mean() > 0.9

    def test_it_names_the_parent_that_the_run_trained(self, catalog):
        folder = Path(catalog.load("parent")["pretrained"])
        assert folder == catalog.load("transfer_parents").folder("resnet18")
        described = yaml.safe_load((folder / "classifier.json").read_text())
        source = catalog.load("uncalibrated").provenance["pretrained"]
        assert described["weights_sha256"] in source
        assert catalog.load("parent_training_history")["epoch"].tolist() == [1, 2]

    def test_logits_are_the_classifiers_own_for_all_rows(self, catalog, images, samples):
        classifier, table = catalog.load("uncalibrated"), catalog.load("logits")
        identity = ["image_id", "split", "label"]
        pd.testing.assert_frame_equal(table[identity], samples[identity])
        pixels = classifier.prepare([images.pil(row) for row in (3, 77)])
        with torch.inference_mode():
            expected = classifier(pixels / 255).numpy()
        np.testing.assert_allclose(table.iloc[[3, 77], 3:].to_numpy(), expected, atol=1e-4)

    def test_the_majority_is_for_rows_that_nothing_was_fitted_on(self, catalog, images, samples):
        baselines = catalog.load("baselines")
        rest = samples[samples["split"].isin(["calibration", "test"])]
        assert baselines["image_id"].tolist() == rest["image_id"].tolist()
        train = samples.loc[samples["split"] == "train", "class_index"]
        assert baselines["majority"].unique().tolist() == [images.classes[train.mode()[0]]]

    def test_logs_have_a_row_an_epoch_and_a_row_a_step(self, catalog):
        assert catalog.load("training_history")["epoch"].tolist() == [1, 2, 3]
        assert catalog.load("step_log")["step"].tolist() == list(range(1, 3 * (90 // 16) + 1))


class TestParent:
    def test_a_folder_of_ones_own_gets_a_parent_that_reads_scenes(self, catalog):
        store = catalog.load("transfer_parents")
        parent = store.load("resnet18")
        assert catalog.load("parent") == {"pretrained": str(store.folder("resnet18"))}
        assert (parent.architecture, parent.width, parent.input_size) == ("resnet18", 0.125, 32)
        assert len(catalog.load("parent_training_history")) == 2

    def test_a_finished_one_is_neither_trained_nor_drawn_again(self, catalog, parents, monkeypatch):
        before = parents.load("resnet18")
        monkeypatch.setattr("glasshead.training.run.failpoint", None)  # a step would call it
        drawn = []

        def spy(*args):
            drawn.append(args)
            return scene_at(*args)

        monkeypatch.setattr("glasshead.images.drawn.scene_at", spy)
        _, again = train_parent(parents, OWN, 0)
        pd.testing.assert_frame_equal(again, catalog.load("parent_training_history"))
        assert equal(parents.load("resnet18"), before)
        assert len(drawn) == 1  # the loop looks at one image's logits

    def test_interpolation_does_not_ask_for_another_parent(self, parents):
        """Which would make a comparison of interpolations one of parents."""
        before = parents.load("resnet18")
        train_parent(parents, own(interpolation="none"), 0)
        assert equal(parents.load("resnet18"), before)

    @pytest.mark.parametrize("seed", [0, 1])
    def test_another_width_or_seed_does(self, parents, seed):
        before = parents.load("resnet18").state_dict()
        train_parent(parents, own(width=0.125 if seed else 0.25), seed)
        after = parents.load("resnet18").state_dict()
        assert any(not torch.equal(after[k], v) for k, v in before.items() if k in after)

    def test_each_network_of_a_comparison_has_its_own(self, parents, tmp_path):
        own = COMPARED.model_copy(
            update={"network": COMPARED.network.model_copy(update={"pretrained": "own"})}
        )
        before = parents.load("resnet18")
        sources, histories = pretrain_parents(parents, VariantStore(tmp_path), own, 0)
        assert parents.names() == ["resnet18", "resnet50"]
        assert sources == {name: {"pretrained": str(parents.folder(name))} for name in sources}
        assert histories["architecture"].tolist() == ["resnet18"] * 2 + ["resnet50"] * 2
        assert equal(parents.load("resnet18"), before)  # which was trained already

    @pytest.mark.parametrize("pretrained", ["imagenet", "none", "elsewhere"])
    def test_anything_else_is_passed_on(self, tmp_path, pretrained):
        parents = ClassifierStore(tmp_path / "parents", "classifier")
        source, log = train_parent(parents, params(network={"pretrained": pretrained}), 0)
        assert source == {"pretrained": pretrained}
        assert log.empty
        assert parents.names() == []

    @pytest.mark.parametrize(("side", "expected"), [(32, "own"), (96, "imagenet-lite0")])
    def test_auto_goes_by_the_images_size(self, tmp_path, monkeypatch, side, expected):
        draw = np.random.default_rng(0)
        records = []
        for row in range(4):
            sink = io.BytesIO()
            Image.fromarray(draw.integers(0, 255, (side, side, 3), dtype=np.uint8)).save(
                sink, "PNG"
            )
            records.append(plain_record(f"all/{row}", sink.getvalue(), "ab"[row % 2], None))
        table = ImageTable.from_records(records, ("a", "b"))
        asked = []
        monkeypatch.setattr(
            "glasshead.pipelines.train_transfer.nodes.train_parent",
            lambda store, parameters, seed: asked.append(parameters.network.pretrained),
        )
        pretrain_parent(ClassifierStore(tmp_path), table, params(network={"pretrained": "auto"}), 0)
        assert asked == [expected]


class TestFit:
    @pytest.mark.parametrize("strategy", ["frozen", "full"])
    def test_a_frozen_backbone_stays_its_parents(
        self, images, fitting, parents, tmp_path, strategy
    ):
        source = {"pretrained": str(parents.folder("resnet18"))}
        chosen = params(strategy={"strategy": strategy})
        child, _, _ = train(images, fitting, tmp_path / "child", chosen, parent=source)
        parent = parents.load("resnet18")
        assert equal(child, parent, "network.layer") is (strategy == "frozen")

    def test_the_head_begins_as_the_linear_probe(self, images, fitting, tmp_path):
        """With a learning rate of next to nothing, it stays the probe of the untrained network's features."""
        still = params(
            strategy={"strategy": "frozen", "probe_first": True},
            training={"epochs": 1, "optimiser": {"name": "adamw", "learning_rate": 1e-12}},
        )
        classifier, _, _ = train(images, fitting, tmp_path, still)

        def embedded(split):
            samples = fitting[fitting["split"] == split]
            pictures = [images.pil(int(row)) for row in table_rows(images, samples)]
            features = classifier.eval().features(as_images(classifier.prepare(pictures)))
            return features.double().numpy(), samples["class_index"].to_numpy()

        probe = fit_linear_probe(embedded("train"), embedded("validation"), STRENGTHS)
        weight, bias = probe.as_layer()
        np.testing.assert_allclose(classifier.head.weight.detach(), weight, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(classifier.head.bias.detach(), bias, rtol=1e-3, atol=1e-3)

    def test_trained_weights_are_mixed_with_those_before(self, images, fitting, tmp_path):
        def trained(folder: str, epochs: int, rate: float, mixing: float):
            given = params(
                strategy={"strategy": "full", "probe_first": True, "mixing": mixing},
                training={"epochs": epochs, "optimiser": ADAMW | {"learning_rate": rate}},
            )
            return train(images, fitting, tmp_path / folder, given)[0].state_dict()

        before = trained("before", 1, 1e-12, 1.0)
        after = trained("after", 2, 0.01, 1.0)
        mixed = trained("mixed", 2, 0.01, 0.25)
        weights = [name for name in before if name.endswith(".weight")]
        assert any((after[name] - before[name]).abs().max() > 1e-3 for name in weights)
        for name in weights:
            expected = 0.75 * before[name] + 0.25 * after[name]
            torch.testing.assert_close(mixed[name], expected, rtol=1e-4, atol=1e-5)

    def test_two_phases_stand_in_the_log_with_their_names(self, images, fitting, tmp_path):
        chosen = params(strategy={"strategy": "two_phase", "head_fraction": 0.34})
        _, log, _ = train(images, fitting, tmp_path, chosen)
        assert log["phase"].tolist() == ["head", "full", "full"]

    def test_a_training_that_was_killed_ends_as_one_that_was_not(
        self, images, fitting, tmp_path, monkeypatch
    ):
        chosen = params(strategy={"strategy": "two_phase", "head_fraction": 0.34})
        whole, expected, _ = train(images, fitting, tmp_path / "whole", chosen)
        calls = iter(range(8))

        def stop(step: str) -> None:
            if step == "train/step" and next(calls, None) is None:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("glasshead.training.run.failpoint", stop)
            with pytest.raises(KeyboardInterrupt):
                train(images, fitting, tmp_path / "killed", chosen)
        resumed, log, _ = train(images, fitting, tmp_path / "killed", chosen)
        assert equal(resumed, whole)
        pd.testing.assert_frame_equal(log.drop(columns="seconds"), expected.drop(columns="seconds"))

    @pytest.mark.parametrize("change", ["augmentation", "split", "seed", "interpolation", "parent"])
    def test_another_training_does_not_go_on_from_it(
        self, images, fitting, parents, tmp_path, change
    ):
        short = {"training": {"epochs": 1}}
        train(images, fitting, tmp_path / "run", params(**short))
        before = (tmp_path / "run" / "last" / "state.json").read_text()
        changes = {
            "augmentation": {"augmentation": "baseline"},
            "interpolation": {"network": {"interpolation": "bicubic"}},
        }
        parent = NONE
        if change == "split":
            fitting = fitting.assign(split=fitting["split"].iloc[::-1].to_numpy())
        if change == "parent":
            parent = {"pretrained": str(parents.folder("resnet18"))}
        chosen = params(**short | changes.get(change, {}))
        train(images, fitting, tmp_path / "run", chosen, int(change == "seed"), parent)
        assert (tmp_path / "run" / "last" / "state.json").read_text() != before

    def test_a_variant_is_its_recipe_from_the_seed_of_its_replicate(
        self, images, fitting, tmp_path, monkeypatch
    ):
        planned = [Variant("resnet50", "last_2", "bicubic", 2)]
        monkeypatch.setattr("glasshead.pipelines.train_transfer.comparison_nodes.VARIANTS", planned)
        store = VariantStore(tmp_path / "variants")
        fit_variants(images, fitting, {"resnet50": NONE}, store, COMPARED, 5)
        variant = store.load("resnet50_last_2_bicubic_2")
        chosen = params(
            network={"architecture": "resnet50", "interpolation": "bicubic"},
            strategy={"strategy": "last_2"},
        )
        same, _, _ = train(images, fitting, tmp_path / "same", chosen, seed=7)
        assert variant.architecture == "resnet50"
        assert equal(variant, same)

    @pytest.mark.parametrize(
        ("block", "name", "value"),
        [
            ("network", "architecture", "resnet18"),
            ("network", "interpolation", "bilinear"),
            ("strategy", "strategy", "full"),
        ],
    )
    def test_a_comparison_refuses_what_it_would_not_heed(
        self, images, fitting, tmp_path, block, name, value
    ):
        chosen = COMPARED.model_copy(
            update={block: type(getattr(COMPARED, block)).model_validate({name: value})}
        )
        variants, parents = VariantStore(tmp_path / "v"), ClassifierStore(tmp_path / "p")
        with pytest.raises(ParameterError, match=f"chooses {block}.{name} itself"):
            pretrain_parents(parents, variants, chosen, 0)
        sources = {"resnet18": NONE, "resnet50": NONE}
        with pytest.raises(ParameterError, match=f"chooses {block}.{name} itself"):
            fit_variants(images, fitting, sources, variants, chosen, 0)
        assert not list(tmp_path.iterdir())

    def test_samples_of_other_images_are_refused(self, images, fitting, tmp_path):
        with pytest.raises(ArtifactError, match="do not match the image table"):
            train(images, fitting.assign(content_hash="0"), tmp_path)

    def test_a_width_that_imagenet_lacks_is_refused(self, images, fitting, tmp_path):
        with pytest.raises(ParameterError, match="ImageNet's weights have width 1"):
            train(images, fitting, tmp_path, parent={"pretrained": "imagenet"})


class TestParams:
    def test_photographs_have_a_recipe_of_their_own_where_auto_is_a_backbone(self):
        recipe = {"strategy": {"strategy": "last_2"}, "training": {"epochs": 1}}
        automatic = params(network={"pretrained": "auto"}, photographs=recipe)
        assert automatic.recipe_for("imagenet-lite0").strategy.strategy == "last_2"
        assert automatic.recipe_for("own") is automatic
        named = params(network={"pretrained": "imagenet-lite0"}, photographs=recipe)
        assert named.recipe_for("imagenet-lite0") is named

    def test_the_configuration_of_base_is_valid(self):
        for name in ("train_transfer", "transfer_comparison"):
            block = parameters()[name]
            TrainTransferParams.model_validate(block)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"augmentation": "flips"},
            {"image_size": 0},
            {"epochs": 3},
            {"parent": {"scenes": {"defects": {"label_noise": 0.1}}}},  # parents see none
        ],
    )
    def test_wrong_parameters_are_refused(self, wrong):
        with pytest.raises(ValidationError):
            TrainTransferParams.model_validate(SMALL | wrong)
