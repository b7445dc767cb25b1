"""A machine of a Ray cluster goes away in mid-run: FAULTS row 29, on a cluster of two nodes on this machine."""

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from glasshead.embedding.local import embed_images
from glasshead.embedding.on_ray import embed_images_on_ray
from glasshead.embedding.store import EmbeddingStore
from glasshead.images.table import ImageTable, Record

N, BATCH = 60, 4
OPTIONS: dict[str, Any] = {"batch_size": BATCH, "shard_rows": 8, "device": "cpu"}


class Encoder(torch.nn.Module):
    """(b, 3, 4, 4) in [0, 1] to 5 values, slowly; says on which node it has been at work."""

    key = "0123abcd"
    shape = (5,)
    input_size = 4

    def __init__(self, seconds: float = 0.0, folder: Path | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(48, 5)
        self.seconds, self.folder = seconds, folder

    def prepare(self, images: list[Image.Image]) -> torch.Tensor:
        time.sleep(self.seconds)
        if self.folder:
            import ray

            (self.folder / ray.get_runtime_context().get_node_id()).touch()
        return torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1))


@pytest.fixture
def images() -> ImageTable:
    def record(row: int) -> Record:
        png = io.BytesIO()
        Image.new("RGB", (4, 4), (row, 255 - row, 9)).save(png, "PNG")
        return Record(
            image_id=f"train/{row}",
            image=png.getvalue(),
            label="grey",
            given_split=None,
            mask=None,
            attributes={},
            defects=[],
        )

    return ImageTable.from_records((record(row) for row in range(N)), ["grey"])


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes of one CPU each; the driver is on the first."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    handler = signal.getsignal(signal.SIGTERM)
    node = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        cluster.second = cluster.add_node(**node)
        cluster.wait_for_nodes(timeout=120)
        ray.init(cluster.address, log_to_driver=False)
        signal.signal(signal.SIGTERM, handler)
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_a_node_that_goes_away_loses_and_repeats_no_row(cluster, images, tmp_path, caplog):
    expected, _ = embed_images(images, Encoder(), EmbeddingStore(tmp_path / "local"), **OPTIONS)
    seen = tmp_path / "nodes"
    seen.mkdir()
    removed = threading.Event()

    def remove_when_both_are_at_work() -> None:
        deadline = time.monotonic() + 60
        while len(list(seen.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        cluster.remove_node(cluster.second, allow_graceful=False)
        removed.set()

    remover = threading.Thread(target=remove_when_both_are_at_work)
    remover.start()
    store = EmbeddingStore(tmp_path / "store")
    embeddings, summary = embed_images_on_ray(
        images, Encoder(0.5, seen), store, workers=2, **OPTIONS
    )
    remover.join(60)
    assert removed.is_set()
    assert len(list(seen.iterdir())) == 2
    assert "A Ray worker is gone" in caplog.text
    np.testing.assert_allclose(embeddings.values[:], expected.values[:], atol=1e-5)
    assert embeddings.image_id.tolist() == expected.image_id.tolist()
    assert summary["embed/encoded"] == N
    assert sum(shard.rows for shard in store._manifest(embeddings.store_key).shards().values()) == N
