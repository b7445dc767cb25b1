"""`train_cnn` as Kedro runs it, on small images whose class is a colour; what it fits on, resumes and reports."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog
from kedro.runner import SequentialRunner
from pydantic import ValidationError

from glasshead.calibration.table import FINAL, read_heads
from glasshead.errors import ArtifactError, ParameterError, TrainingError
from glasshead.models.classifier import Classifier
from glasshead.models.cnn import CNNClassifier
from glasshead.models.inference import predict_logits
from glasshead.models.store import VariantStore
from glasshead.pipelines.train_cnn.ablation_nodes import Variant, fit_variants
from glasshead.pipelines.train_cnn.nodes import (
    TrainCNNParams,
    fit_cnn,
    predict_baselines,
)
from glasshead.pipelines.train_cnn.pipeline import create_pipeline
from glasshead.settings import CONFIG_LOADER_ARGS
from glasshead.training.augment import PRESETS
from glasshead.training.checkpoint import CheckpointFolder

CONF = Path(__file__).parents[2] / "conf"


def parameters() -> dict:
    """Return the parameters of the base environment, with references resolved."""
    loader = OmegaConfigLoader(str(CONF), env="base", **CONFIG_LOADER_ARGS)
    return loader["parameters"]


SMALL = {
    "width": 0.05,
    "training": {
        "epochs": 3,
        "batch_size": 16,
        "optimiser": {"name": "adamw", "learning_rate": 0.02},
    },
}
PARAMETERS = TrainCNNParams.model_validate(SMALL)


@pytest.fixture(scope="module")
def catalog(training_catalog) -> DataCatalog:
    """The catalog after a run of the pipeline on the entries of conf/base."""
    catalog = training_catalog()
    catalog["params:train_cnn"] = PARAMETERS
    SequentialRunner().run(create_pipeline(), catalog)
    return catalog


def train(images, fitting, folder, parameters=PARAMETERS, seed=0):
    return fit_cnn(images, fitting, CheckpointFolder(folder), parameters, seed)


def weights_agree(first: Classifier, second: Classifier) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


class TestRun:
    def test_the_classifier_learns_and_says_what_it_is(self, catalog, images):
        classifier = catalog.load("uncalibrated")
        assert isinstance(classifier, CNNClassifier)
        assert classifier.input_size == 16
        assert classifier.provenance["data"] == images.digest()
        assert classifier.provenance["augmentation"] == {"crop_padding": 4, "flip": "random"}
        heads = read_heads(catalog.load("logits"))
        assert set(heads) == {FINAL}
        right = heads[FINAL].logits.argmax(axis=1) == heads[FINAL].labels
        assert right.mean() > 0.9

    def test_logits_are_the_classifiers_own_for_all_rows(self, catalog, images, samples):
        classifier, table = catalog.load("uncalibrated"), catalog.load("logits")
        pd.testing.assert_frame_equal(
            table[["image_id", "split", "label"]], samples[["image_id", "split", "label"]]
        )
        pixels = classifier.prepare([images.pil(row) for row in (3, 77)])
        with torch.inference_mode():
            expected = classifier(pixels / 255).numpy()
        np.testing.assert_allclose(table.iloc[[3, 77], 3:].to_numpy(), expected, atol=1e-4)

    def test_baselines_are_for_rows_that_nothing_was_fitted_on(self, catalog, samples):
        baselines = catalog.load("baselines")
        rest = samples[samples["split"].isin(["calibration", "test"])]
        assert baselines["image_id"].tolist() == rest["image_id"].tolist()
        assert (baselines["tta"].to_numpy() == rest["label"].to_numpy()).mean() > 0.9

    def test_logs_have_a_row_an_epoch_and_a_row_a_step(self, catalog):
        assert catalog.load("training_history")["epoch"].tolist() == [1, 2, 3]
        steps = catalog.load("step_log")
        assert steps["step"].tolist() == list(range(1, 3 * (90 // 16) + 1))
        assert np.isfinite(steps[["loss", "learning_rate", "gradient_norm"]]).all(axis=None)


class TestFit:
    def test_normalisation_is_that_of_train_pixels_alone(self, catalog, images, fitting):
        classifier = catalog.load("uncalibrated")
        rows = fitting.loc[fitting["split"] == "train", "image_id"]
        places = pd.Index(images.ids()).get_indexer(rows)
        pixels = classifier.prepare([images.pil(int(row)) for row in places]).double() / 255
        assert classifier.settings["mean"] == pytest.approx(pixels.mean(dim=(0, 2, 3)).tolist())

    def test_a_training_that_was_killed_ends_as_one_that_was_not(
        self, catalog, images, fitting, tmp_path, monkeypatch
    ):
        expected = catalog.load("training_history")
        calls = iter(range(8))

        def stop(step: str) -> None:
            if step == "train/step" and next(calls, None) is None:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("glasshead.training.run.failpoint", stop)
            with pytest.raises(KeyboardInterrupt):
                train(images, fitting, tmp_path)
        resumed, log, _ = train(images, fitting, tmp_path)
        assert weights_agree(resumed, catalog.load("uncalibrated"))
        pd.testing.assert_frame_equal(log.drop(columns="seconds"), expected.drop(columns="seconds"))

    def test_a_finished_training_is_not_repeated(self, catalog, images, fitting, monkeypatch):
        monkeypatch.setattr("glasshead.training.run.failpoint", None)  # a step would call it
        again, log, steps = fit_cnn(images, fitting, catalog.load("checkpoints"), PARAMETERS, 0)
        assert weights_agree(again, catalog.load("uncalibrated"))
        pd.testing.assert_frame_equal(log, catalog.load("training_history"))
        pd.testing.assert_frame_equal(steps, catalog.load("step_log"))

    @pytest.mark.parametrize("change", ["augmentation", "split", "seed", "width"])
    def test_another_training_does_not_go_on_from_it(self, images, fitting, tmp_path, change):
        parameters = SMALL | {"training": SMALL["training"] | {"epochs": 1}}
        train(images, fitting, tmp_path, TrainCNNParams.model_validate(parameters))
        before = (tmp_path / "last" / "state.json").read_text()
        parameters |= {"augmentation": {"augmentation": "none"}, "width": {"width": 0.2}}.get(
            change, {}
        )
        if change == "split":
            fitting = fitting.assign(split=fitting["split"].iloc[::-1].to_numpy())
        chosen = TrainCNNParams.model_validate(parameters)
        train(images, fitting, tmp_path, chosen, seed=int(change == "seed"))
        assert (tmp_path / "last" / "state.json").read_text() != before

    def test_streaming_gives_the_same_weights(
        self, catalog, images, fitting, tmp_path, monkeypatch
    ):
        held = "glasshead.training.batches.TensorBatches"
        monkeypatch.setattr(held, lambda *args: pytest.fail("the images were held in memory"))
        monkeypatch.setattr("glasshead.pipelines.train_cnn.nodes.MEGABYTE", 1)
        streamed, _, _ = train(images, fitting, tmp_path)
        assert weights_agree(streamed, catalog.load("uncalibrated"))

    def test_a_variant_is_its_preset_from_the_seeds_of_its_replicate(
        self, images, fitting, tmp_path, monkeypatch
    ):
        planned = [Variant("none", 0), Variant("mixup", 2)]
        monkeypatch.setattr("glasshead.pipelines.train_cnn.ablation_nodes.VARIANTS", planned)
        store = VariantStore(tmp_path / "variants")
        fit_variants(images, fitting, store, PARAMETERS, 5)
        assert store.names() == ["mixup_2", "none_0"]
        variant = store.load("mixup_2")
        chosen = PARAMETERS.model_copy(update={"augmentation": PRESETS["mixup"]})
        assert weights_agree(variant, train(images, fitting, tmp_path / "b", chosen, seed=7)[0])
        assert variant.provenance["seed"] == 7

    def test_a_comparison_takes_no_augmentation_from_parameters(self, images, fitting, tmp_path):
        wrong = TrainCNNParams.model_validate(SMALL | {"augmentation": "none"})
        with pytest.raises(ParameterError, match="Remove `augmentation` from `cnn_ablation`"):
            fit_variants(images, fitting, VariantStore(tmp_path), wrong, 0)

    def test_flips_may_alternate_between_epochs(self, images, fitting, tmp_path):
        flips = {"augmentation": {"flip": "alternating"}}
        _, log, _ = train(images, fitting, tmp_path, TrainCNNParams.model_validate(SMALL | flips))
        assert log["validation_accuracy"].iloc[-1] > 0.9

    def test_divergence_names_the_step_and_the_checkpoint(self, images, fitting, tmp_path):
        training = SMALL["training"] | {"optimiser": {"name": "sgd", "learning_rate": 1e30}}
        wild = TrainCNNParams.model_validate(SMALL | {"training": training})
        with pytest.raises(TrainingError, match=r"step \d.*last good checkpoint"):
            train(images, fitting, tmp_path, wild)

    def test_rows_of_other_images_are_refused(self, images, fitting, tmp_path):
        with pytest.raises(ArtifactError, match="do not match the image table"):
            train(images, fitting.assign(content_hash="0" * 64), tmp_path)


class TestPredict:
    def test_majority_is_the_most_frequent_train_class(self, catalog, images, fitting):
        split = fitting["split"].where(fitting["label"] != "red", "validation")
        uneven = fitting.assign(split=split.where(fitting["label"] != "green", "train"))
        none = PARAMETERS.model_copy(update={"test_time_augmentation": "none"})
        baselines = predict_baselines(catalog.load("uncalibrated"), images, uneven, none)
        assert baselines.columns.tolist() == ["image_id", "majority"]
        assert set(baselines["majority"]) == {"green"}

    def test_logits_of_other_samples_are_refused(self, catalog, images, samples):
        with pytest.raises(ArtifactError, match="--pipelines=preprocess`"):
            predict_logits(catalog.load("uncalibrated"), images, samples.iloc[::-1], PARAMETERS)


class TestParams:
    def test_a_preset_is_its_fields(self):
        assert TrainCNNParams(augmentation="cutmix").augmentation == PRESETS["cutmix"]

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"augmentation": "mixupp"}, "Choose one of none, baseline"),
            ({"augmentation": {"crop": 4}}, "Extra inputs"),
            ({"architecture": "vgg"}, "fast_cnn"),
            ({"image_size": 8}, "greater than or equal to 16"),
            ({"widht": 1}, "Extra inputs"),
        ],
    )
    def test_wrong_parameters_are_refused(self, wrong, message):
        with pytest.raises(ValidationError, match=message):
            TrainCNNParams.model_validate(wrong)

    @pytest.mark.parametrize("name", ["train_cnn", "cnn_ablation"])
    def test_the_file_names_every_field(self, name):
        """So that a user sees what can be set; of the comparison all but the augmentation."""
        block = parameters()[name]
        parsed = TrainCNNParams.model_validate(block)
        missing = {"augmentation"} if name == "cnn_ablation" else set()
        assert set(block) == set(TrainCNNParams.model_fields) - missing
        assert set(block["training"]) == set(type(parsed.training).model_fields)
        optimiser = parsed.training.optimiser
        assert set(block["training"]["optimiser"]) == set(type(optimiser).model_fields)
