"""Classifiers from outside: each kind gives what the network itself gives, by its contract; bad ones are refused."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config
from timm.models._hub import save_for_hf
from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from glasshead.errors import ModelError
from glasshead.explainers.methods import METHODS
from glasshead.models.classifier import Classifier, as_images
from glasshead.models.contract import Contract, ContractParams, complete, groups_of
from glasshead.models.external import ExternalClassifier
from glasshead.models.output_table import read_outputs
from glasshead.models.outside import ModelParams
from glasshead.models.outside_kinds import load_outside
from glasshead.serving.export import export_graph, onnx_bytes, program_bytes

CLASSES = ("bird", "cat", "dog")
NAMES = ("tabby, tabby cat", "beagle", "crane", "crane", "robin", "Persian cat")
MAPPING = {"cat": (0, "Persian cat"), "dog": ("beagle",), "bird": (2, "3", "robin")}
SAID = ContractParams(
    classes=NAMES, mapping=MAPPING, input_size=64, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)
)
FACTORY = """
import torch
from torch import nn

def make():
    torch.manual_seed(3)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6))
    return net, {"input_size": 64}

class Model:
    metadata = {"id": "mine", "index2label": {0: "a", 1: "b"}}
    def __call__(self, batch):
        return [[float(image.mean()), 1 - float(image.mean())] for image in batch]

def wrong():
    return 3
"""


@pytest.fixture(autouse=True)
def own_trust(tmp_path, monkeypatch):
    """No test trusts a file for another."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model("test_resnet", num_classes=len(NAMES)).eval()


def pictures(count: int = 4) -> list[Image.Image]:
    rng = np.random.default_rng(1)
    return [Image.fromarray(rng.integers(0, 256, (70 + k, 90, 3), np.uint8)) for k in range(count)]


def built(model: ModelParams, said: ContractParams = SAID, classes=CLASSES) -> ExternalClassifier:
    outside = load_outside(model)
    contract = complete(said, outside.read)
    return ExternalClassifier(
        classes,
        {},
        contract=contract,
        groups=groups_of(contract, said.mapping, classes),
        network=outside.network,
        built=outside.built,
        access=outside.access,
    ).eval()


@torch.no_grad()
def logits_of(classifier: ExternalClassifier) -> torch.Tensor:
    return classifier(as_images(classifier.prepare(pictures())))


def files(network: torch.nn.Module, folder: Path) -> dict[str, ModelParams]:
    """Write `network` in every form that is read."""
    save_for_hf(network, folder / "timm", safe_serialization=True)
    torch.save(network.state_dict(), folder / "weights.pth")
    example = torch.zeros(2, 3, 64, 64)
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(network, (example,), dynamic_shapes=(batch,))
    torch.export.save(program, folder / "net.pt2")
    torch.onnx.export(program, input_names=["x"], output_names=["y"], verbose=False).save(
        folder / "net.onnx"
    )
    return {
        "folder": ModelParams(path=str(folder / "timm")),
        "weights": ModelParams(path="timm:test_resnet", weights=folder / "weights.pth"),
        "onnx": ModelParams(kind="onnx", path=str(folder / "net.onnx")),
        "program": ModelParams(kind="program", path=str(folder / "net.pt2"), trusted=True),
    }


class TestKinds:
    def test_one_network_in_four_forms_gives_one_answer_before_and_after_saving(
        self, network, tmp_path
    ):
        pixels = torch.from_numpy(
            np.stack([np.asarray(p.resize((64, 64))) for p in pictures()])
        ).permute(0, 3, 1, 2)
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (SAID.mean, SAID.std))
        with torch.no_grad():
            raw = network((as_images(pixels) - mean) / std).double()
        expected = torch.stack(
            [raw[:, [2, 3, 4]].logsumexp(1), raw[:, [0, 5]].logsumexp(1), raw[:, 1]], dim=1
        )
        access = {}
        for name, model in files(network, tmp_path).items():
            classifier = built(model)
            access[name] = classifier.access
            with torch.no_grad():
                ours = classifier(as_images(pixels)).double()
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
            classifier.save(tmp_path / "saved" / name)
            loaded = Classifier.load(tmp_path / "saved" / name)
            assert loaded.training_id() == classifier.training_id()
            torch.testing.assert_close(logits_of(loaded), logits_of(classifier))
        assert access == {
            "folder": "gradient",
            "weights": "gradient",
            "onnx": "forward",
            "program": "gradient",
        }

    def test_of_timm_the_images_are_those_of_its_own_transform(self, network, tmp_path):
        save_for_hf(network, tmp_path, safe_serialization=True)
        classifier = built(
            ModelParams(path=str(tmp_path)), ContractParams(classes=NAMES, mapping=MAPPING)
        )
        theirs = create_transform(**resolve_data_config(network.pretrained_cfg), is_training=False)
        expected = torch.stack([theirs(picture) for picture in pictures()])
        ours = classifier.contract.normalised(as_images(classifier.prepare(pictures())))
        assert (ours - expected).abs().max() < 2.5 / 255 / min(
            classifier.contract.processor.image_std
        )

    @pytest.mark.parametrize(
        ("config", "model"),
        [
            (ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
                       image_size=64, patch_size=16), ViTForImageClassification),
            (ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1]), ResNetForImageClassification),
        ],
    )  # fmt: skip
    def test_an_image_classifier_of_transformers_names_its_own_classes(
        self, config, model, tmp_path
    ):
        config.id2label = {0: "dog", 1: "bird", 2: "cat"}
        config.label2id = {name: number for number, name in config.id2label.items()}
        torch.manual_seed(0)
        theirs = model(config).eval()
        theirs.save_pretrained(tmp_path)
        said = ContractParams(input_size=64, mean=(0.5,) * 3, std=(0.5,) * 3)
        classifier = built(ModelParams(path=str(tmp_path)), said)
        images = torch.rand(2, 3, 64, 64)
        with torch.no_grad():
            expected = theirs(pixel_values=(images - 0.5) / 0.5).logits[:, [1, 2, 0]]
            torch.testing.assert_close(classifier(images), expected, rtol=1e-5, atol=1e-5)
        classifier.save(tmp_path / "saved")
        torch.testing.assert_close(
            logits_of(Classifier.load(tmp_path / "saved")), logits_of(classifier)
        )

    def test_our_own_exports_are_read_with_their_pixels_up_to_255(self, network, tmp_path):
        """They read bytes and return calibrated probabilities."""
        ours = built(files(network, tmp_path)["folder"]).with_temperatures({"final": 2.0})
        program = export_graph(ours)
        (tmp_path / "own.pt2").write_bytes(program_bytes(program))
        (tmp_path / "own.onnx").write_bytes(onnx_bytes(program, ours, 18))
        images = as_images(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
        with torch.no_grad():
            expected = ours.probabilities(images)
        said = ContractParams(classes=CLASSES, outputs="probabilities")
        for model in (
            ModelParams(kind="program", path=str(tmp_path / "own.pt2"), trusted=True),
            ModelParams(kind="onnx", path=str(tmp_path / "own.onnx")),
        ):
            classifier = built(model, said)
            assert classifier.access == "forward"
            torch.testing.assert_close(
                classifier.probabilities(images), expected, rtol=1e-4, atol=1e-5
            )

    def test_a_function_of_the_users_must_be_trusted_and_unchanged(self, tmp_path):
        file = tmp_path / "mine.py"
        file.write_text(FACTORY)
        path = f"{file}:make"
        with pytest.raises(ModelError, match=r"runs code when it is read.*trusted=true"):
            load_outside(ModelParams(kind="python", path=path))
        classifier = built(ModelParams(kind="python", path=path, trusted=True))
        assert classifier.access == "gradient"
        assert len(classifier.cam_layers()) == 1
        classifier.save(tmp_path / "saved")
        torch.testing.assert_close(
            logits_of(Classifier.load(tmp_path / "saved")), logits_of(classifier)
        )
        file.write_text(FACTORY + "\n")
        with pytest.raises(ModelError, match="has changed since the classifier was read"):
            Classifier.load(tmp_path / "saved")

    def test_modules_beside_a_function_can_be_imported(self, tmp_path):
        (tmp_path / "beside_it.py").write_text("SIDE = 64\n")
        (tmp_path / "mine.py").write_text("import beside_it\n" + FACTORY)
        model = ModelParams(kind="python", path=f"{tmp_path / 'mine.py'}:make", trusted=True)
        assert load_outside(model).access == "gradient"

    def test_a_model_of_maites_protocol_is_called_with_arrays(self, tmp_path):
        (tmp_path / "mine.py").write_text(FACTORY)
        model = ModelParams(kind="python", path=f"{tmp_path / 'mine.py'}:Model", trusted=True)
        said = ContractParams(input_size=8, mean=(0.0,) * 3, std=(1.0,) * 3)
        classifier = built(model, said, ("a", "b"))
        assert classifier.access == "forward"
        images = torch.rand(3, 3, 8, 8)
        mean = images.mean(dim=(1, 2, 3))
        expected = torch.stack([mean, 1 - mean], dim=1)
        torch.testing.assert_close(classifier.probabilities(images), expected)

    def test_a_table_is_read_by_image_whatever_the_order_of_its_rows(self, tmp_path):
        table = pd.DataFrame(
            {"image_id": ["b", "a"], "probability/x": [0.2, 0.9], "probability/y": [0.8, 0.1]}
        )
        table.to_parquet(tmp_path / "t.parquet")
        table.rename(columns=lambda name: name.removeprefix("probability/")).to_csv(
            tmp_path / "t.csv", index=False
        )
        for name in ("t.parquet", "t.csv"):
            values, columns = read_outputs(tmp_path / name, pd.Series(["a", "b"]))
            assert columns == ("x", "y")
            np.testing.assert_allclose(values, [[0.9, 0.1], [0.2, 0.8]])
        classifier = built(
            ModelParams(kind="table", path=str(tmp_path / "t.csv")),
            ContractParams(classes=("x", "y")),
            ("x", "y"),
        )
        assert classifier.access == "table"
        reasons = {name: method.applies_to(classifier) for name, method in METHODS.items()}
        possible = {name for name, reason in reasons.items() if reason is None}
        assert possible == {"centre_gaussian", "edge_detector", "random"}


class TestContract:
    def test_numbers_up_to_255_are_those_up_to_1_on_another_scale(self):
        images = torch.rand(2, 3, 8, 8)
        said = {"classes": ("a",), "input_size": 8}
        small = complete(ContractParams(**said, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0)), {})
        large = complete(
            ContractParams(**said, range=255, mean=(25.5, 51.0, 76.5), std=(255.0, 510.0, 1020.0)),
            {},
        )
        torch.testing.assert_close(small.normalised(images), large.normalised(images))
        bgr = complete(
            ContractParams(**said, channels="bgr", mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0)), {}
        )
        torch.testing.assert_close(bgr.normalised(images.flip(1)), small.normalised(images))

    def test_range_alone_rescales_what_a_processor_says(self):
        """The network's own mean and std are then numbers on the scale of 255."""
        read = {"processor": complete(SAID, {}).processor}
        contract = complete(ContractParams(classes=NAMES, range=255), read)
        images = torch.rand(1, 3, 8, 8)
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (SAID.mean, SAID.std))
        expected = (images * 255 - mean) / std
        torch.testing.assert_close(contract.normalised(images), expected, rtol=1e-4, atol=1e-3)

    def test_it_can_be_saved(self):
        contract = complete(SAID, {})
        assert Contract.from_settings(contract.settings) == contract

    @pytest.mark.parametrize(
        ("resize", "size"),
        [
            (None, {"shortest_edge": 64}),
            (80, {"shortest_edge": 80}),
            ("stretch", {"height": 64, "width": 64}),
        ],
    )
    def test_what_is_cropped_and_what_is_stretched(self, resize, size):
        contract = complete(SAID.model_copy(update={"resize": resize}), {})
        assert contract.processor.size == size
        assert contract.processor.prepare(pictures(1)).shape == (1, 3, 64, 64)

    def test_the_probability_of_a_union_is_the_sum(self, network, tmp_path):
        classifier = built(files(network, tmp_path)["folder"])
        images = torch.rand(3, 3, 64, 64)
        with torch.no_grad():
            whole = classifier.outputs(images).softmax(dim=1)
            expected = torch.stack(
                [whole[:, [2, 3, 4]].sum(1), whole[:, [0, 5]].sum(1), whole[:, 1]], dim=1
            )
            torch.testing.assert_close(classifier.probabilities(images), expected)

    def test_logits_of_probabilities_give_these_probabilities(self):
        contract = complete(SAID.model_copy(update={"outputs": "probabilities"}), {})
        given = torch.tensor([[0.5, 0.25, 0.25, 0.0, 0.0, 0.0]])
        torch.testing.assert_close(contract.as_logits(given).softmax(dim=1), given)

    def test_what_nobody_says_is_asked_for(self):
        with pytest.raises(
            ModelError, match=r"external\.contract\.input_size, external\.contract\.std"
        ):
            complete(ContractParams(classes=("a",), mean=(0.5,) * 3), {})

    @pytest.mark.parametrize(
        ("mapping", "message"),
        [
            (None, "are not those of the images"),
            ({"cat": (0,), "dog": (1,)}, "bird is only in the images"),
            (MAPPING | {"fish": (4,)}, "fish is only in the mapping"),
            (MAPPING | {"dog": ("crane",)}, "several classes called 'crane'"),
            (MAPPING | {"dog": ("beagel",)}, "no class called 'beagel'. Near names are beagle"),
            (MAPPING | {"dog": (6,)}, "no class called 6"),
            (
                MAPPING | {"dog": (0,)},
                "gives the network's class 'tabby, tabby cat' to two classes",
            ),
        ],
    )
    def test_a_mapping_that_does_not_fit_is_one_error(self, mapping, message):
        with pytest.raises(ModelError, match=message):
            groups_of(complete(SAID, {}), mapping, CLASSES)

    def test_names_can_lie_in_a_file(self, tmp_path):
        (tmp_path / "names.txt").write_text("a\n\nb \n")
        assert ContractParams(classes=tmp_path / "names.txt").classes == ("a", "b")
        with pytest.raises(ValueError, match="cannot be read"):
            ContractParams(classes=tmp_path / "nowhere.txt")


class TestRefused:
    def test_a_pickle_is_not_executed(self, tmp_path):
        class Bomb:
            def __reduce__(self):
                return Path.touch, (tmp_path / "exploded",)

        torch.save({"weight": Bomb()}, tmp_path / "bomb.pth")
        with pytest.raises(ModelError, match="cannot be read as a state dict"):
            load_outside(ModelParams(path="timm:test_resnet", weights=tmp_path / "bomb.pth"))
        assert not (tmp_path / "exploded").exists()

    def test_a_program_is_not_read_before_it_is_trusted(self, network, tmp_path):
        model = files(network, tmp_path)["program"].model_copy(update={"trusted": False})
        with pytest.raises(ModelError, match="runs code when it is read"):
            load_outside(model)

    def test_a_wrong_number_of_classes_is_one_error(self, network, tmp_path):
        said = SAID.model_copy(update={"classes": (*NAMES, "one too many")})
        classifier = built(files(network, tmp_path)["folder"], said)
        with pytest.raises(
            ModelError, match=r"returns \(1, 6\) for 1 images, but .* names 7 classes"
        ):
            classifier(torch.rand(1, 3, 64, 64))

    def test_onnx_with_two_inputs_is_one_error(self, tmp_path):
        values = [onnx.helper.make_tensor_value_info(n, 1, ["b", 3, 8, 8]) for n in ("x", "z", "y")]
        node = onnx.helper.make_node("Add", ["x", "z"], ["y"])
        graph = onnx.helper.make_graph([node], "two", values[:2], values[2:])
        onnx.save(
            onnx.helper.make_model(
                graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9
            ),
            tmp_path / "two.onnx",
        )
        with pytest.raises(ModelError, match="should have one input"):
            load_outside(ModelParams(kind="onnx", path=str(tmp_path / "two.onnx")))

    def test_onnx_reads_weights_from_its_own_folder_alone(self, network, tmp_path):
        model = files(network, tmp_path)["onnx"]
        whole = onnx.load(model.path)
        (tmp_path / "a").mkdir()
        onnx.save_model(
            whole,
            tmp_path / "a" / "net.onnx",
            save_as_external_data=True,
            location="w.bin",
            size_threshold=0,
        )
        inside = built(ModelParams(kind="onnx", path=str(tmp_path / "a" / "net.onnx")))
        torch.testing.assert_close(logits_of(inside), logits_of(built(model)))
        moved = onnx.load(tmp_path / "a" / "net.onnx", load_external_data=False)
        (tmp_path / "w.bin").write_bytes((tmp_path / "a" / "w.bin").read_bytes())
        for tensor in moved.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = "../w.bin"
        (tmp_path / "a" / "net.onnx").write_bytes(moved.SerializeToString())
        with pytest.raises(ModelError, match="no file in its folder"):
            load_outside(ModelParams(kind="onnx", path=str(tmp_path / "a" / "net.onnx")))

    @pytest.mark.parametrize(
        ("model", "message"),
        [
            ({"path": None}, "external.model.path is not set"),
            ({"kind": "onnx", "path": "nowhere.onnx"}, "there is no file nowhere.onnx"),
            ({"path": "./nowhere"}, "There is no backbone folder"),
            ({"kind": "python", "path": "mine.py"}, "should be FILE.py:FUNCTION"),
        ],
    )
    def test_what_is_missing_is_one_error(self, model, message):
        with pytest.raises(ModelError, match=message):
            load_outside(ModelParams(**model))

    def test_what_is_no_program_is_one_error(self, tmp_path):
        (tmp_path / "not.pt2").write_bytes(b"no program")
        model = ModelParams(kind="program", path=str(tmp_path / "not.pt2"), trusted=True)
        with pytest.raises(ModelError, match=r"not\.pt2: This file is no program of torch\.export"):
            load_outside(model)

    def test_a_program_of_two_inputs_is_one_error(self, tmp_path):
        class Sum(torch.nn.Module):
            def forward(self, images, more):
                return (images + more).mean(dim=(2, 3))

        example = (torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8))
        torch.export.save(torch.export.export(Sum(), example), tmp_path / "two.pt2")
        model = ModelParams(kind="program", path=str(tmp_path / "two.pt2"), trusted=True)
        with pytest.raises(ModelError, match="should have one input"):
            load_outside(model)

    def test_what_is_no_onnx_is_one_error(self, tmp_path):
        (tmp_path / "not.onnx").write_bytes(b"not ONNX")
        with pytest.raises(ModelError, match="cannot be read as ONNX"):
            load_outside(ModelParams(kind="onnx", path=str(tmp_path / "not.onnx")))

    def test_a_function_that_returns_something_else_is_one_error(self, tmp_path):
        (tmp_path / "mine.py").write_text(FACTORY)
        with pytest.raises(ModelError, match="returns a int"):
            load_outside(
                ModelParams(kind="python", path=f"{tmp_path / 'mine.py'}:wrong", trusted=True)
            )

    def test_weights_of_anything_but_a_network_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"only for external\.model\.kind=network"):
            ModelParams(kind="onnx", path="x.onnx", weights=tmp_path / "w.pth")

    def test_names_of_digits_keep_their_zeros(self, tmp_path):
        (tmp_path / "t.csv").write_text("file_name,x\n007,0.25\n010,0.75\n")
        values, _ = read_outputs(tmp_path / "t.csv", pd.Series(["010", "007"]))
        assert values[:, 0].tolist() == [0.75, 0.25]

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ({"x": [0.5]}, "needs a column image_id or file_name"),
            ({"image_id": ["a", "a"], "x": [0.5, 0.5]}, "several rows for a"),
            ({"image_id": ["a"], "x": [0.5]}, "no row for 1 of 2 images, such as b"),
        ],
    )
    def test_a_table_that_does_not_fit_is_one_error(self, rows, message, tmp_path):
        pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
        with pytest.raises(ModelError, match=message):
            read_outputs(tmp_path / "t.csv", pd.Series(["a", "b"]))


def test_the_trusted_are_known_by_their_content(tmp_path):
    (tmp_path / "mine.py").write_text(FACTORY)
    load_outside(ModelParams(kind="python", path=f"{tmp_path / 'mine.py'}:make", trusted=True))
    digest = hashlib.sha256(FACTORY.encode()).hexdigest()
    assert (tmp_path / "config" / "glasshead" / "trusted").read_text().split() == [digest]
