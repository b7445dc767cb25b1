"""The hub cannot be reached: FAULTS row 17, on a cache in the hub client's own layout."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import glasshead
from glasshead.models.backbone import BackboneParams, resolve_backbone
from glasshead.models.clip import load_encoder

COMMIT, OTHER = "0123456789abcdef" * 2 + "01234567", "f" * 40
OFFLINE = {"HF_HUB_OFFLINE": "1"}
CLOSED_PORT = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Return a HF_HOME that holds nano-clip as somebody/nano at COMMIT, the tip of main."""
    home = tmp_path_factory.mktemp("home")
    model = home / "hub" / "models--somebody--nano"
    for folder in ("blobs", "refs", f"snapshots/{COMMIT}"):
        (model / folder).mkdir(parents=True)
    (model / "refs" / "main").write_text(COMMIT)
    for path in resolve_backbone(BackboneParams(name="nano-clip")).iterdir():
        blob = model / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        blob.write_bytes(path.read_bytes())
        (model / "snapshots" / COMMIT / path.name).symlink_to(f"../../blobs/{blob.name}")
    return home


def load(home: Path, environment: dict[str, str], name: str, *revisions: str) -> list[dict]:
    """Return what load_from_hub.py says of each revision; the client reads its environment when it is imported."""
    paths = {"HF_HOME": str(home), "HF_HUB_CACHE": str(home / "hub")}
    sources = {"PYTHONPATH": str(Path(glasshead.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("load_from_hub.py")), name, *revisions],
        env=os.environ | sources | paths | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def offline(home) -> list[dict]:
    return load(home, OFFLINE, "somebody/nano", COMMIT, "", OTHER, "v2")


def test_a_cached_revision_is_used_without_asking_the_network(offline):
    expected = load_encoder(BackboneParams(name="nano-clip")).key
    pinned, tip = offline[:2]
    assert pinned == {"key": expected, "revision": COMMIT, "connections": 0}
    assert tip == {"key": expected, "revision": None, "connections": 0}


def test_another_revision_is_refused_without_asking_the_network(offline):
    for revision, found in zip((OTHER, "v2"), offline[2:], strict=True):
        assert found["connections"] == 0
        assert f"'somebody/nano' (revision {revision}) is not in the local cache" in found["error"]
        assert "HF_HOME" in found["error"]


def test_a_hub_that_does_not_answer_leaves_the_cached_revision(home):
    cached, other = load(home, CLOSED_PORT, "somebody/nano", COMMIT, OTHER)
    assert cached["key"] == load_encoder(BackboneParams(name="nano-clip")).key
    assert "HF_HUB_OFFLINE=1 makes this fail at once" in other["error"]
    assert other["connections"] > 0
