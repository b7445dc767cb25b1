"""Where a backbone's weights come from: torch hub's cache of ImageNet weights, or an earlier Classifier's folder."""

import hashlib
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torchvision.models import MobileNet_V3_Small_Weights, get_model

from glasshead.errors import ArtifactError, BackboneError, ParameterError
from glasshead.models.ensemble import Ensemble
from glasshead.models.pretrained import PretrainedParams, build_transfer
from glasshead.models.transfer import TransferClassifier

NAME = "mobilenet_v3_small"
WEIGHTS = MobileNet_V3_Small_Weights.IMAGENET1K_V1
CLASSES = ("bird", "cat", "ship")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache of torch hub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def point(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that makes torchvision's weights lie at a URL."""
    return partial(monkeypatch.setattr, WEIGHTS.value, "url")


@pytest.fixture
def put(cache: Path, point: Callable[[str], None]) -> Callable[[object], Path]:
    """Return a function that saves a state as torchvision does, in the cache, under a name with its hash."""

    def put(state: object) -> Path:
        made = cache / "made"
        torch.save(state, made)
        named = cache / f"{NAME}-{hashlib.sha256(made.read_bytes()).hexdigest()[:8]}.pth"
        made.rename(named)
        point(f"http://127.0.0.1:9/models/{named.name}")
        return named

    return put


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[bytes, str], str]]:
    """Yield a function that serves bytes under a name on this machine and returns their URL."""
    root = tmp_path / "served"
    root.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(root))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def serve(content: bytes, name: str) -> str:
        (root / name).write_bytes(content)
        return f"http://127.0.0.1:{server.server_port}/{name}"

    yield serve
    server.shutdown()
    thread.join()
    server.server_close()


def trained(name: str = NAME, classes: int = 1000) -> torch.nn.Module:
    """Return a network that differs from a new one in its batch norms' statistics too."""
    torch.manual_seed(11)
    network = get_model(name, weights=None, num_classes=classes)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network(torch.rand(4, 3, 64, 64))
    return network


def build(pretrained: str = "imagenet", **changes: object) -> TransferClassifier:
    params = PretrainedParams(
        **{"architecture": NAME, "pretrained": pretrained, "backbone_size": 64} | changes
    )
    return build_transfer(params, CLASSES, 32, {"seed": 1}, seed=1)


def backbone(classifier: TransferClassifier) -> dict[str, torch.Tensor]:
    head = {name.removeprefix("network.") for name in classifier.head_names()}
    return {k: v for k, v in classifier.network.state_dict().items() if k not in head}


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


class TestImageNet:
    def test_it_is_the_network_that_torchvision_loads(self, put):
        """torchvision's own builder reads the same file; with our head it gives our logits."""
        put(trained().state_dict())
        classifier = build().eval()
        theirs = get_model(NAME, weights=WEIGHTS, progress=False).eval()
        theirs.classifier[3] = classifier.network.classifier[3]
        images = torch.rand(2, 3, 64, 64)
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        expected = theirs((images - mean) / std)
        assert (expected[0] - expected[1]).abs().max() > 1e-4
        torch.testing.assert_close(classifier(images), expected)

    def test_the_provenance_names_them(self, put):
        put(trained().state_dict())
        source = "imagenet: MobileNet_V3_Small_Weights.IMAGENET1K_V1"
        assert build().provenance == {"seed": 1, "pretrained": source}

    def test_files_older_than_the_count_of_batches_are_read(self, put):
        state = trained().state_dict()
        old = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
        put(old)
        found = backbone(build())
        assert_equal({k: v for k, v in found.items() if k in old}, old)

    def test_absent_ones_are_fetched_into_the_cache(self, serve, point, cache, tmp_path, capsys):
        torch.save(trained().state_dict(), tmp_path / "state")
        content = (tmp_path / "state").read_bytes()
        name = f"{NAME}-{hashlib.sha256(content).hexdigest()[:8]}.pth"
        point(serve(content, name))
        assert_equal(backbone(build()), trained().state_dict())
        assert (cache / name).read_bytes() == content
        assert capsys.readouterr().out == ""

    def test_offline_it_names_both_ways_out(self, cache, point):
        point(f"http://127.0.0.1:9/{NAME}-047dcff4.pth")
        with pytest.raises(BackboneError) as error:
            build()
        for told in (NAME, "Connect once", str(cache), "TORCH_HOME", "`pretrained`", "none"):
            assert told in str(error.value)
        assert list(cache.iterdir()) == []

    def test_a_silent_network_is_given_up(self, cache, point, monkeypatch):
        monkeypatch.setattr("glasshead.models.imagenet.TIMEOUT", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            point(f"http://127.0.0.1:{silent.getsockname()[1]}/{NAME}-047dcff4.pth")
            with pytest.raises(BackboneError, match="timed out"):
                build()
        assert socket.getdefaulttimeout() is None

    def test_a_download_of_another_hash_leaves_nothing(self, cache, serve, point):
        point(serve(b"half of a file", f"{NAME}-047dcff4.pth"))
        found = hashlib.sha256(b"half of a file").hexdigest()
        with pytest.raises(BackboneError, match=f"047dcff4.*{found}"):
            build()
        assert list(cache.iterdir()) == []

    def test_a_damaged_cache_is_told_before_it_is_read(self, put):
        path = put(trained().state_dict())
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        with pytest.raises(BackboneError, match=f"{re.escape(str(path))} is damaged.*Delete it"):
            build()

    def test_a_pickle_in_the_cache_is_not_run(self, put, tmp_path):
        put({"features": Payload(tmp_path / "marker")})
        with pytest.raises(BackboneError, match="are not available"):
            build()
        assert not (tmp_path / "marker").exists()

    def test_another_architectures_weights_do_not_fit(self, put):
        put(get_model("resnet18", weights=None).state_dict())
        with pytest.raises(BackboneError, match=f"do not fit {NAME}"):
            build()


class TestFolder:
    @pytest.fixture
    def parent(self, tmp_path: Path) -> TransferClassifier:
        """A Classifier of two classes, saved, whose normalisation is not ImageNet's."""
        parent = TransferClassifier(
            ("left", "right"),
            48,
            {},
            architecture=NAME,
            backbone_size=48,
            interpolation="none",
            mean=(0.1, 0.2, 0.3),
            std=(0.4, 0.5, 0.6),
        )
        parent.network.load_state_dict(trained(classes=2).state_dict())
        parent.save(tmp_path / "parent")
        return parent

    def test_it_takes_the_backbone_and_draws_a_head(self, parent, tmp_path):
        classifier = build(str(tmp_path / "parent"))
        assert_equal(backbone(classifier), backbone(parent))
        fresh = build("none").network.state_dict()
        for name in classifier.head_names():
            inner = name.removeprefix("network.")
            assert torch.equal(classifier.network.state_dict()[inner], fresh[inner])

    def test_it_normalises_as_the_parent_did_and_keeps_its_own_size(self, parent, tmp_path):
        classifier = build(str(tmp_path / "parent"))
        assert torch.equal(classifier.mean, parent.mean)
        assert torch.equal(classifier.std, parent.std)
        assert (classifier.input_size, classifier.network_size) == (32, 64)
        digest = hashlib.sha256((tmp_path / "parent" / "model.safetensors").read_bytes())
        assert digest.hexdigest() in classifier.provenance["pretrained"]

    def test_the_child_stands_without_its_parent(self, parent, tmp_path):
        child = build(str(tmp_path / "parent"))
        child.save(tmp_path / "child")
        (tmp_path / "parent" / "model.safetensors").unlink()
        again = TransferClassifier.load(tmp_path / "child")
        assert_equal(again.state_dict(), child.state_dict())

    def test_another_architecture_is_refused(self, parent, tmp_path):
        with pytest.raises(
            ParameterError, match=f"is of {NAME}, width 1, but a backbone of resnet18, width 1"
        ):
            build(str(tmp_path / "parent"), architecture="resnet18")

    def test_another_kind_is_refused(self, parent, tmp_path):
        Ensemble([parent, parent], {}).save(tmp_path / "ensemble")
        with pytest.raises(ParameterError, match="is of kind ensemble"):
            build(str(tmp_path / "ensemble"))

    def test_an_absent_one_is_named(self, tmp_path):
        with pytest.raises(ArtifactError, match="holds no Classifier"):
            build(str(tmp_path / "nowhere"))


def test_a_vits_positions_are_interpolated():
    """Positions that are all alike stay so on a finer grid; the class token's is left alone."""
    coarse, fine = (build("none", architecture="vit_b_16", backbone_size=size) for size in (32, 64))
    with torch.no_grad():
        position = coarse.network.encoder.pos_embedding
        position[:, 1:] = position[:, 1:2].clone()
    fine.take_backbone(coarse.network.state_dict())
    taken = fine.network.encoder.pos_embedding
    assert taken.shape[1] == 17
    assert torch.equal(taken[:, :1], position[:, :1])
    torch.testing.assert_close(taken[:, 1:], position[:, 1:2].expand(-1, 16, -1))
    others = {k: v for k, v in backbone(coarse).items() if "pos_embedding" not in k}
    assert_equal(others, fine.network.state_dict())
