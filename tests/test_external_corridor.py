"""`external`: one network in all its forms walks the corridor, with the same results; the how-to's commands."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
import torch.nn.functional as F
import yaml
from click.testing import Result

from glasshead.images.scenes import CLASSES
from glasshead.images.table import ImageTable
from glasshead.models.classifier import Classifier, as_images

Run = Callable[..., Result]
EXTERNAL = Path("data/08_reporting/external")
SIDE = 32
FACTORY = """
import timm, torch

def make():
    network = timm.create_model("test_resnet", num_classes=10)
    network.load_state_dict(torch.load("{weights}", weights_only=True))
    return network
"""


def check(result: Result) -> None:
    assert result.exit_code == 0, result.stderr[-2000:]


def read(name: str) -> dict:
    return json.loads((EXTERNAL / name).read_text())


@pytest.fixture(scope="module")
def forms(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Yield the files of a small network that was trained for a few seconds on the train images."""
    check(run("--pipelines=ingest,preprocess"))
    images = ImageTable.open(Path("data/02_intermediate/images.arrow"))
    samples = pd.read_parquet("data/03_primary/samples.parquet")
    pixels = torch.from_numpy(np.stack([np.asarray(images.pil(row)) for row in range(len(images))]))
    normalised = (as_images(pixels.permute(0, 3, 1, 2)) - 0.5) / 0.25
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=10).eval()
    labels = torch.from_numpy(samples["class_index"].to_numpy(np.int64))
    fitted = np.flatnonzero(samples["split"] == "train")
    optimiser = torch.optim.AdamW(network.train().parameters(), lr=0.004)
    for _ in range(12):
        for rows in torch.from_numpy(fitted)[torch.randperm(len(fitted))].split(32):
            optimiser.zero_grad()
            F.cross_entropy(network(normalised[rows]), labels[rows]).backward()
            optimiser.step()
    with torch.inference_mode():
        outputs = network.eval()(normalised)
    folder = tmp_path_factory.mktemp("outside")
    torch.save(network.state_dict(), folder / "net.pth")
    (folder / "my_model.py").write_text(FACTORY.format(weights=folder / "net.pth"))
    batch = {0: torch.export.Dim("batch")}
    example = torch.zeros(2, 3, SIDE, SIDE)
    program = torch.export.export(network, (example,), dynamic_shapes=(batch,))
    torch.export.save(program, folder / "net.pt2")
    torch.onnx.export(program, input_names=["x"], output_names=["y"], verbose=False).save(
        folder / "net.onnx"
    )
    table = pd.DataFrame(outputs.double().numpy(), columns=list(CLASSES))
    table.insert(0, "image_id", images.ids())
    table.to_csv(folder / "outputs.csv", index=False)
    contract = {
        "classes": list(CLASSES),
        "input_size": SIDE,
        "resize": SIDE,
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
    }
    local = Path(
        "conf/test/parameters_external.yml"
    )  # of the copy; runs here are of this environment
    local.write_text(yaml.safe_dump({"external": {"contract": contract}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield {path.suffix + path.stem: path for path in folder.iterdir() if path.is_file()}
    local.unlink()


@pytest.fixture(scope="module")
def of_network(run: Run, forms: dict[str, Path]) -> dict:
    """Return the metrics of the network itself, read with its state dict."""
    result = run(
        "--pipelines=external",
        "--params=external.model.path=timm:resnet18,external.model.weights=my-resnet18.pth",
        given={"timm:resnet18": "timm:test_resnet", "my-resnet18.pth": forms[".pthnet"]},
    )
    check(result)
    return read("metrics.json")


def check_same(metrics: dict) -> None:
    ours = read("metrics.json")
    assert ours.keys() == metrics.keys()
    for name, estimate in metrics.items():
        for bound, value in estimate.items():
            if value is None:
                assert ours[name][bound] is None, (name, bound)
            else:
                assert ours[name][bound] == pytest.approx(value, abs=1e-4), (name, bound)


def test_the_network_walks_the_whole_corridor(of_network: dict, forms: dict[str, Path]) -> None:
    outputs = pd.read_csv(forms[".csvoutputs"]).set_index("image_id")
    samples = pd.read_parquet("data/03_primary/samples.parquet")
    test = samples[samples["split"] == "test"]
    right = outputs.loc[test["image_id"]].idxmax(axis=1).to_numpy() == test["label"].to_numpy()
    assert of_network["accuracy"]["value"] == pytest.approx(right.mean())
    classifier = Classifier.load(Path("data/06_models/external/calibrated"))
    assert classifier.access == "gradient"
    assert {check["verdict"] for check in read("preflight.json")["checks"]} == {"ok"}
    explained = read("explanations.json")
    assert {"integrated_gradients", "grad_cam", "layer_cam", "occlusion"} <= explained.keys()
    page = (EXTERNAL / "report.html").read_text()
    assert "external on <bdi>timm:test_resnet</bdi>" in page
    assert "Everything can be computed" in page
    card = (EXTERNAL / "model_card.md").read_text()
    assert "license: unknown" in card
    assert "calibrated and audited with" in card
    findings = {
        finding["check"]: finding
        for finding in json.loads((EXTERNAL / "findings.json").read_text())
    }
    assert findings["training_images"]["severity"] == "medium"


def test_onnx_gives_the_same_numbers_and_says_what_it_does_not_permit(
    run: Run, forms: dict[str, Path], of_network: dict
) -> None:
    check(
        run(
            "--pipelines=external",
            "--params=external.model.kind=onnx,external.model.path=my-classifier.onnx",
            given={"my-classifier.onnx": forms[".onnxnet"]},
        )
    )
    check_same(of_network)
    explained = read("explanations.json")
    assert "occlusion" in explained
    assert "saliency" not in explained
    assert "randomisation" not in explained["occlusion"]
    for name in ("report.html", "model_card.md"):
        assert "access level: forward" in (EXTERNAL / name).read_text()
    result = run("--pipelines=external_export")
    assert result.exit_code == 1
    assert "cannot be exported" in result.stderr
    check(run("--pipelines=external_robustness"))
    tried = set(pd.read_csv(EXTERNAL / "robustness.csv")["perturbation"])
    assert "gaussian_noise" in tried
    assert "fgsm" not in tried


def test_a_table_gives_the_same_numbers_without_any_network(
    run: Run, forms: dict[str, Path], of_network: dict
) -> None:
    check(
        run(
            "--pipelines=external",
            "--params=external.model.kind=table,external.model.path=my-outputs.csv",
            given={"my-outputs.csv": forms[".csvoutputs"]},
        )
    )
    check_same(of_network)
    assert read("explanations.json").keys() == {"centre_gaussian", "edge_detector", "random"}
    for name in ("report.html", "model_card.md"):
        assert "access level: table" in (EXTERNAL / name).read_text()
    verdicts = {check["name"]: check["verdict"] for check in read("preflight.json")["checks"]}
    assert verdicts["channels"] == "not_possible"
    result = run("--pipelines=external_robustness")
    assert result.exit_code == 1
    assert "only a table of the classifier's outputs is known" in result.stderr


def test_a_program_and_a_function_give_the_same_numbers_once_they_are_trusted(
    run: Run, forms: dict[str, Path], of_network: dict
) -> None:
    program = "external.model.kind=program,external.model.path=my-classifier.pt2"
    given = {"my-classifier.pt2": forms[".pt2net"], "my_model.py": forms[".pymy_model"]}
    result = run("--pipelines=external", f"--params={program}", given=given, to="external.metrics")
    assert result.exit_code == 1
    assert "is not trusted on this machine" in result.stderr
    assert "Traceback" not in result.stderr
    check(
        run(
            "--pipelines=external",
            "--params=external.model.kind=program,external.model.path=my-classifier.pt2,external.model.trusted=true",
            given=given,
            to="external.metrics",
        )
    )
    check_same(of_network)
    check(
        run(
            "--pipelines=external",
            "--params=external.model.kind=python,external.model.path=my_model.py:make,external.model.trusted=true",
            given=given,
            to="external.metrics",
        )
    )
    check_same(of_network)


def test_a_mistake_of_the_contract_is_a_finding_and_nan_is_one_error(
    run: Run, forms: dict[str, Path]
) -> None:
    network = f"external.model.path=timm:test_resnet,external.model.weights={forms['.pthnet']}"
    wrong = f"{network},external.contract.outputs=probabilities"
    check(run("--pipelines=external", f"--params={wrong}", to="external.findings"))
    findings = {
        finding["check"] for finding in json.loads((EXTERNAL / "findings.json").read_text())
    }
    assert "contract/outputs" in findings
    state = torch.load(forms[".pthnet"], weights_only=True)
    state["fc.bias"][3] = float("nan")
    broken = forms[".pthnet"].with_name("broken.pth")
    torch.save(state, broken)
    params = f"external.model.path=timm:test_resnet,external.model.weights={broken}"
    before = (EXTERNAL / "findings.json").read_bytes()
    result = run("--pipelines=external", f"--params={params}", to="external.findings")
    assert result.exit_code == 1
    assert "returns NaN or infinity for" in result.stderr
    assert "Traceback" not in result.stderr
    assert (EXTERNAL / "findings.json").read_bytes() == before


def test_what_it_was_trained_on_is_train_and_all_else_is_not(
    run: Run, forms: dict[str, Path], tmp_path: Path
) -> None:
    ids = ImageTable.open(Path("data/02_intermediate/images.arrow")).ids()
    listed = tmp_path / "seen.txt"
    listed.write_text("\n".join(ids[:50]))
    check(run("--pipelines=preprocess", f"--params=preprocess.trained_on={listed}"))
    samples = pd.read_parquet("data/03_primary/samples.parquet")
    assert set(samples["split"][:50]) <= {"train", "validation"}
    assert set(samples["split"][50:]) == {"calibration", "test"}
    check(run("--pipelines=preprocess", "--params=preprocess.trained_on=none"))
    assert set(pd.read_parquet("data/03_primary/samples.parquet")["split"]) == {
        "calibration",
        "test",
    }
    result = run("--pipelines=preprocess", f"--params=preprocess.trained_on={tmp_path}")
    assert result.exit_code == 1
    assert "none of the 1 images in" in result.stderr
