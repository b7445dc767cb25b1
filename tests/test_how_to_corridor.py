"""Documented commands that no other corridor test runs, on a few images, in one copy of the project.

A test needs what those above it leave, so the order counts. tests/test_docs.py counts as run what the calls of `run`,
`predict` and `kedro` name word by word; a command with an environment of its own runs in that.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import timm
import torch
import yaml
from click.testing import CliRunner, Result
from fsspec.implementations.memory import MemoryFileSystem
from kedro.framework.cli.cli import KedroCLI
from timm.models._hub import save_for_hf
from torchvision.models import ResNet18_Weights, resnet18

from glasshead.__main__ import main
from glasshead.images.scenes import CLASSES
from glasshead.images.table import ImageTable
from glasshead.models.classifier import Classifier

ROOT = Path(__file__).parents[1]
Run = Callable[..., Result]
HEADS, CNN, RISK = (Path("data/08_reporting", name) for name in ("heads", "cnn", "risk"))
SCENES = "ingest.scenes.train=160,ingest.scenes.test=40"
CLASSES_OF_FOLDER = {"automobile": "scratch", "truck": "dent", "horse": "fine", "ship": "new"}


def predict(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["predict", *arguments])


def kedro(*arguments: str, also: tuple[str, ...] = ()) -> Result:
    return CliRunner().invoke(KedroCLI(ROOT), [*arguments, *also])


def check(result: Result) -> None:
    assert result.exit_code == 0, result.stderr[-2000:]


def read(path: Path | str) -> dict:
    return json.loads(Path(path).read_text())


def classes_in_table() -> tuple[str, ...]:
    return ImageTable.open(Path("data/02_intermediate/images.arrow")).classes


def embedded() -> list[int]:
    summary = read("data/08_reporting/data/embed_summary.json")
    return [summary["embed/encoded"], summary["embed/cached"]]


def provenance(name: str) -> dict:
    return Classifier.load(Path("data/06_models", name, "calibrated")).provenance


@pytest.fixture(scope="module")
def table(run: Run) -> ImageTable:
    """Return 200 drawn images, 20 a class."""
    check(run("--pipelines=ingest", also=SCENES))
    return ImageTable.open(Path("data/02_intermediate/images.arrow"))


@pytest.fixture(scope="module")
def folder(table: ImageTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 80 images, a folder for each of four classes inside."""
    root = tmp_path_factory.mktemp("folder")
    for row, label in table.frame()["label"].items():
        if label in CLASSES_OF_FOLDER:
            path = root / CLASSES_OF_FOLDER[label] / f"{row}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(table.encoded(row))
    return root


@pytest.fixture(scope="module")
def parquet(table: ImageTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with train.parquet and test.parquet in Hugging Face image layout, and a column of text."""
    root = tmp_path_factory.mktemp("parquet")
    features = {
        "image": {"_type": "Image"},
        "label": {"names": CLASSES, "_type": "ClassLabel"},
        "light": {"dtype": "string", "_type": "Value"},
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    frame = table.frame()
    for split, rows in frame.groupby("given_split").groups.items():
        columns = {
            "image": [{"bytes": table.encoded(row), "path": None} for row in rows],
            "label": [CLASSES.index(label) for label in frame.loc[rows, "label"]],
            "light": [("day", "dusk", "night")[row % 3] for row in rows],
        }
        content = pa.table(columns).replace_schema_metadata(metadata)
        pq.write_table(content, root / f"{split}.parquet")
    return root


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> MemoryFileSystem:
    """Return fsspec's memory, empty for the time of a test."""
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    return MemoryFileSystem()


class TestImageFolder:
    def test_a_folder_makes_a_classifier_with_its_report(self, run: Run, folder: Path) -> None:
        check(
            run(
                "--params=ingest.source=image_folder,ingest.image_folder.path=DIR",
                given={"DIR": folder},
            )
        )
        assert classes_in_table() == tuple(sorted(CLASSES_OF_FOLDER.values()))
        assert {f"subtask/is_{name}/accuracy" for name in classes_in_table()} <= set(
            read(HEADS / "metrics.json")
        )
        assert "heads on <bdi>nano-clip</bdi>, 4 classes" in (HEADS / "report.html").read_text()

    def test_the_report_is_written_again(self, run: Run) -> None:
        (HEADS / "report.html").unlink()
        check(run("--pipelines=report"))
        assert (HEADS / "report.html").is_file()
        check(run("--pipelines=report", "--params=report.right_from=0.95"))
        assert "0.95" in read(HEADS / "summary.json")["verdicts"][0]["rule"]
        check(run("--pipelines=report", "--params=report.right_from=0.95,report.licence=mit"))
        assert "license: mit" in (HEADS / "model_card.md").read_text()

    def test_robustness(self, run: Run) -> None:
        check(
            run("--pipelines=robustness", "--params=robustness.images=100,robustness.pgd_steps=20")
        )
        table = pd.read_csv(HEADS / "robustness.csv")
        assert {"clean", "pgd"} <= set(table["perturbation"])

    def test_full_explanations(self, run: Run) -> None:
        (HEADS / "explanations.json").unlink()
        small = {
            "images": 2,
            "budget.samples": 4,
            "budget.lime_samples": 16,
            "evaluation.images": 2,
        }
        also = ",".join(f"explain_full.{name}={value}" for name, value in small.items())
        check(run("--pipelines=explain_full", also=also))
        assert {"lime", "gradient_shap"} <= set(read(HEADS / "explanations.json"))

    def test_export(self, run: Run) -> None:
        check(run("--pipelines=export", "--params=export.opset=20,export.latency.threads=2"))
        assert read(HEADS / "export.json")["onnx"]["agreement"] >= 0.999
        assert len(pd.read_csv(HEADS / "latency.csv"))

    def test_predict(self) -> None:
        result = predict("src/glasshead/assets/samples")
        check(result)
        lines = result.stdout.splitlines()
        assert len(lines) == len(CLASSES)
        check(predict("src/glasshead/assets/samples", "--csv", "out.csv"))
        assert len(pd.read_csv("out.csv")) == len(CLASSES)
        check(kedro("predict", also=("src/glasshead/assets/samples/cat.png",)))

    def test_explained_predictions(self) -> None:
        check(predict("src/glasshead/assets/samples/cat.png", "--explain", "integrated_gradients"))
        assert len(list(Path("explanations").glob("*.png"))) == 1

    def test_ingest_lists_every_bad_file(self, run: Run, folder: Path, tmp_path: Path) -> None:
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        for name in ("scratch/1 bad.png", "fine/2 bad.png"):
            (tmp_path / name).write_text("no image")
        check(
            run(
                "--pipelines=ingest",
                "--params=ingest.source=image_folder,ingest.image_folder.path=DIR,ingest.max_bad_fraction=1",
                given={"DIR": tmp_path},
            )
        )
        quarantine = pd.read_csv("data/02_intermediate/quarantine.csv")
        assert quarantine["file"].tolist() == ["fine/2 bad.png", "scratch/1 bad.png"]

    def test_another_backbone(self, run: Run, folder: Path, tmp_path: Path) -> None:
        weights = tmp_path / "weights.pth"
        torch.save(timm.create_model("test_resnet", num_classes=5).state_dict(), weights)
        check(
            run(
                "--params=ingest.source=image_folder,ingest.image_folder.path=DIR,backbone.name=timm:resnet18,backbone.weights=my-resnet18.pth",
                given={
                    "DIR": folder,
                    "timm:resnet18": "timm:test_resnet",
                    "my-resnet18.pth": weights,
                },
                to="heads.metrics,heads.classifier",
            )
        )
        assert provenance("heads")["backbone"] == "timm:test_resnet"

    def test_groups_from_a_table_of_attributes(
        self, run: Run, folder: Path, tmp_path: Path
    ) -> None:
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
        table = tmp_path / "metadata.csv"
        patients = [f"p{number // 3}" for number in range(len(names))]
        pd.DataFrame({"file_name": names, "patient": patients}).to_csv(table, index=False)
        check(
            run(
                "--params=ingest.source=image_folder,ingest.image_folder.path=DIR,ingest.image_folder.attributes=metadata.csv,preprocess.group_by=patient",
                given={"DIR": folder, "metadata.csv": table},
                to="samples",
            )
        )
        samples = pd.read_parquet("data/03_primary/samples.parquet")
        assert samples["attribute/patient"].nunique() > 10
        assert samples.groupby("attribute/patient")["split"].nunique().max() == 1


class TestSources:
    """Each other address to the same images."""

    def test_parquet(self, run: Run, parquet: Path) -> None:
        check(
            run(
                "--params=ingest.source=parquet,ingest.parquet.path=DIR,preprocess.taxonomy=classes",
                given={"DIR": parquet},
                to="embeddings",
            )
        )
        assert classes_in_table() == CLASSES
        assert sum(embedded()) == 200

    def test_parquet_in_a_bucket(self, run: Run, parquet: Path, memory: MemoryFileSystem) -> None:
        before = embedded()
        memory.put(str(parquet), "/bucket/images", recursive=True)
        check(
            run(
                "--params=ingest.source=parquet,ingest.parquet.path=s3://BUCKET/DIR,preprocess.taxonomy=classes",
                given={"s3://BUCKET/DIR": "memory://bucket/images"},
                to="embeddings",
            )
        )
        assert embedded() == before  # the same images, so that their embeddings are kept
        check(
            run(
                "--pipelines=ingest",
                "--params=ingest.source=parquet,ingest.parquet.path=gs://bucket/images",
                given={"gs://": "memory://"},
            )
        )
        assert classes_in_table() == CLASSES

    def test_folders_in_buckets_and_archives(
        self, run: Run, folder: Path, memory: MemoryFileSystem, tmp_path: Path
    ) -> None:
        archive = shutil.make_archive(str(tmp_path / "images"), "zip", folder)
        memory.put(str(folder), "/bucket/images", recursive=True)
        memory.put(archive, "/bucket/images.zip")
        images = Path("data/02_intermediate/images.arrow")
        check(
            run(
                "--pipelines=ingest",
                "--params=ingest.source=image_folder,ingest.image_folder.path=s3://bucket/images",
                given={"s3://": "memory://"},
            )
        )
        digest = ImageTable.open(images).digest()
        images.unlink()
        check(
            run(
                "--pipelines=ingest",
                "--params=ingest.source=image_folder,ingest.image_folder.path=zip::s3://bucket/images.zip",
                given={"s3://": "memory://"},
            )
        )
        assert ImageTable.open(images).digest() == digest
        images.unlink()
        check(
            run(
                "--pipelines=ingest",
                "--params=ingest.source=image_folder,ingest.image_folder.path=zip::file:///data/images.zip",
                given={"/data": tmp_path},
            )
        )
        assert ImageTable.open(images).digest() == digest
        assert classes_in_table() == tuple(sorted(CLASSES_OF_FOLDER.values()))

    def test_a_data_set_of_the_hub(
        self, run: Run, parquet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = embedded()
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
        monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
        check(
            run(
                "--params=ingest.source=hub,ingest.hub.id=OWNER/NAME,preprocess.taxonomy=classes",
                given={"OWNER/NAME": parquet},
                to="embeddings",
            )
        )
        assert embedded() == before

    def test_parquet_and_the_taxonomy_seed(self, run: Run, parquet: Path) -> None:
        check(
            run(
                "--params=ingest.source=parquet,ingest.parquet.path=DIR,preprocess.taxonomy=seed",
                given={"DIR": parquet},
                to="heads.metrics",
            )
        )
        assert "subtask/color_class/accuracy" in read(HEADS / "metrics.json")


class TestScenes:
    def test_a_taxonomy_of_ones_own_is_checked(self, run: Run) -> None:
        Path("conf/base/taxonomies/mine.yml").write_text(
            "subtasks: {bright: {function: brightness}}"
        )
        check(run("--pipelines=ingest", also=SCENES))
        check(
            run(
                "--pipelines=preprocess",
                "--params=preprocess.taxonomy=NAME",
                given={"NAME": "mine"},
            )
        )
        samples = pd.read_parquet("data/03_primary/samples.parquet")
        assert any("bright" in name for name in samples)

    def test_ray_embeds(self, run: Run) -> None:
        shutil.rmtree("data/04_feature/store")
        also = "embed.ray.workers=1"
        check(run("--pipelines=embed", "--params=embed.engine=ray", also=also))
        assert embedded() == [200, 0]

    def test_the_taxonomy_seed_and_20_epochs(self, run: Run) -> None:
        check(
            run(
                "--params=preprocess.taxonomy=seed,train_heads.training.epochs=20",
                also=SCENES,
                to="heads.metrics",
            )
        )
        assert embedded() == [0, 200]  # by the local engine, of what Ray encoded
        assert len(pd.read_csv(HEADS / "audit_log.csv")) <= 20

    def test_embedding_on_the_cpu(self, run: Run) -> None:
        check(run("--params=embed.device=cpu", also=SCENES, to="embeddings"))
        assert sum(embedded()) == 200


class TestCNN:
    def test_thirty_epochs_of_mixup_and_cutmix(self, run: Run) -> None:
        check(
            run(
                "--pipelines=cnn",
                "--params=train_cnn.augmentation=mixup_cutmix,train_cnn.training.epochs=30",
                also=SCENES,
                to="cnn.metrics,cnn.classifier",
            )
        )
        assert len(pd.read_csv(CNN / "audit_log.csv")) == 30

    def test_robustness(self, run: Run) -> None:
        check(run("--pipelines=cnn_robustness", also="robustness.images=5"))
        assert "pgd" in set(pd.read_csv(CNN / "robustness.csv")["perturbation"])

    def test_predict(self, tmp_path: Path) -> None:
        check(predict("src/glasshead/assets/samples", "--csv", "out.csv", "--classifier", "cnn"))
        assert len(pd.read_csv("out.csv")) == len(CLASSES)
        Path("photos/deep").mkdir(parents=True)
        images = ImageTable.open(Path("data/02_intermediate/images.arrow"))
        images.pil(0).save("photos/deep/1.jpg")
        result = predict("photos/**/*.jpg", "--classifier", "cnn", "--top", "5")
        check(result)
        assert len(result.stdout.splitlines()) == 1

    def test_a_resnet18_on_all_threads(self, run: Run) -> None:
        check(
            run(
                "--pipelines=cnn",
                "--params=train_cnn.architecture=resnet18,train_cnn.width=1,train_cnn.threads=null",
                also="ingest.scenes.train=60,ingest.scenes.test=20,train_cnn.training.epochs=1",
                to="cnn.metrics,cnn.classifier",
            )
        )
        assert "resnet18" in Path("data/06_models/cnn/calibrated/classifier.json").read_text()

    def test_a_gpu_or_an_error_that_says_so(self, run: Run) -> None:
        result = run(
            "--pipelines=cnn",
            "--params=train_cnn.device=cuda",
            also=f"{SCENES},train_cnn.training.epochs=1",
            to="cnn.metrics",
        )
        if torch.cuda.is_available():
            check(result)
        else:
            assert result.exit_code == 1
            assert "train_cnn.device" in result.stderr.splitlines()[-1]


class TestTransfer:
    def test_a_frozen_backbone(self, run: Run) -> None:
        check(
            run(
                "--pipelines=transfer",
                "--params=train_transfer.strategy.strategy=frozen,train_transfer.network.interpolation=bicubic",
                also=SCENES,
                to="transfer.metrics,transfer.classifier",
            )
        )
        assert provenance("transfer")["pretrained"].startswith("Classifier")

    @pytest.fixture
    def imagenet(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put untrained weights where torch hub's cache has those of ImageNet."""
        cache = tmp_path / "hub" / "checkpoints"
        cache.mkdir(parents=True)
        torch.save(resnet18().state_dict(), cache / "weights")
        digest = hashlib.sha256((cache / "weights").read_bytes()).hexdigest()
        file = (cache / "weights").rename(cache / f"resnet18-{digest[:8]}.pth")
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        monkeypatch.setattr(
            ResNet18_Weights.DEFAULT.value, "url", f"http://127.0.0.1:9/{file.name}"
        )

    @pytest.mark.usefixtures("imagenet")
    def test_the_weights_of_imagenet(self, run: Run) -> None:
        check(
            run(
                "--pipelines=transfer",
                "--params=train_transfer.network.pretrained=imagenet,train_transfer.network.width=1,train_transfer.network.backbone_size=224",
                also="ingest.scenes.train=40,ingest.scenes.test=10,train_transfer.training.epochs=2",
                to="transfer.metrics,transfer.classifier",
            )
        )
        assert provenance("transfer")["pretrained"].startswith("imagenet")

    @pytest.mark.usefixtures("imagenet")
    def test_cifar10(
        self, run: Run, tmp_path: Path, write_cifar10: Callable[[Path, list[int]], Path]
    ) -> None:
        """On noise in CIFAR-10's format."""
        data = f"ingest.cifar10.folder={write_cifar10(tmp_path / 'cifar10', [*range(10)])}"
        gate = "evaluate.minimum_accuracy=0"
        check(
            run(
                "--env",
                "cifar10",
                "--pipelines=transfer",
                also=f"{data},{gate},train_transfer.training.epochs=2,train_transfer.network.backbone_size=64",
                to="transfer.metrics,transfer.classifier",
            )
        )
        assert provenance("transfer")["pretrained"].startswith("imagenet")
        check(
            run(
                "--env",
                "cifar10",
                "--pipelines=cnn",
                also=f"{data},{gate},train_cnn.training.epochs=1,train_cnn.width=0.25",
                to="cnn.metrics,cnn.classifier",
            )
        )
        assert read(CNN / "metrics.json")["accuracy"]["n"] == 10


class TestRisk:
    def test_road_vehicles_and_the_report_again(self, run: Run) -> None:
        check(run("--pipelines=risk", also=SCENES))
        assert read(RISK / "metrics.json")["auroc"]["n"] == 40
        (RISK / "report.html").unlink()
        check(run("--pipelines=risk_report"))
        assert (RISK / "report.html").is_file()

    def test_the_ablation(self, run: Run) -> None:
        check(run("--pipelines=risk_ablation", also=f"{SCENES},risk.training.epochs=1"))
        table = pd.read_csv("data/08_reporting/risk_ablation/ablation.csv")
        assert np.isfinite(table["iou"]).all()

    def test_other_classes(self, run: Run) -> None:
        check(
            run(
                "--pipelines=risk",
                "--params=risk.risks=bird+frog",
                also=SCENES,
                to="risk.metrics,risk.classifier",
            )
        )
        auditor = Classifier.load(Path("data/06_models/risk/calibrated"))
        assert auditor.classes == ("bird+frog",)

    def test_another_backbone(self, run: Run, tmp_path: Path) -> None:
        shape = {"img_size": 64, "width_factor": 0.0625, "num_classes": 6}
        model = timm.create_model("resnet50_clip.openai", pretrained=False, **shape)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.constant_(
                    module.bias, 0.5
                )  # or rectifiers may leave nothing of an image
        save_for_hf(model, tmp_path, safe_serialization=True)
        check(
            run(
                "--pipelines=risk",
                "--params=backbone.name=./rn50",
                given={"./rn50": tmp_path},
                also=SCENES,
                to="risk.metrics,risk.classifier",
            )
        )
        assert provenance("risk")["backbone"] == str(tmp_path)

    def test_images_without_masks(self, run: Run, folder: Path) -> None:
        check(
            run(
                "--pipelines=risk",
                "--params=ingest.source=image_folder,ingest.image_folder.path=DIR,preprocess.taxonomy=classes,risk.risks=scratch",
                given={"DIR": folder},
            )
        )
        metrics = read(RISK / "metrics.json")
        assert metrics["auroc"]["value"] is not None
        assert metrics["iou"]["value"] is None
        assert pd.read_parquet(RISK / "localisation.parquet").empty
        assert "Not checked: " in (RISK / "findings.json").read_text()

    def test_a_risk_that_a_column_names(self, run: Run, parquet: Path) -> None:
        dark = {"name": "dark", "column": "light", "values": ["night", "dusk"]}
        settings = {
            "risk": {"risks": [dark]},
            "ingest": {"parquet": {"attribute_columns": ["light"]}},
        }
        for name, block in settings.items():  # conf/local is not read beside conf/test
            path = Path(f"conf/test/parameters_{name}.yml")
            path.write_text(yaml.safe_dump({name: yaml.safe_load(path.read_text())[name] | block}))
        check(
            run(
                "--pipelines=risk",
                "--params=ingest.source=parquet,ingest.parquet.path=DIR,preprocess.taxonomy=classes",
                given={"DIR": parquet},
                to="risk.metrics,risk.classifier",
            )
        )
        auditor = Classifier.load(Path("data/06_models/risk/calibrated"))
        assert auditor.classes == ("dark",)
