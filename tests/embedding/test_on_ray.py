"""The Ray engine gives what the local one gives, and outlives its workers: FAULTS rows 29 to 31."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from glasshead.embedding.local import embed_images
from glasshead.embedding.on_ray import embed_images_on_ray
from glasshead.embedding.store import EmbeddingStore
from glasshead.errors import ArtifactError, ImageError, ParameterError
from glasshead.images.table import ImageTable, Record

N = 30
POISON, ONCE = (
    251,
    252,
)  # the grey of an image that always, or the first time, ends the process that prepares it


def table(greys: list[int], damaged: tuple[int, ...] = ()) -> ImageTable:
    return ImageTable.from_records(
        (record(row, grey, row in damaged) for row, grey in enumerate(greys)), ["grey"]
    )


def record(row: int, grey: int, damaged: bool) -> Record:
    png = io.BytesIO()
    Image.new("RGB", (4, 4), (grey,) * 3).save(png, "PNG")
    return Record(
        image_id=f"train/{row}",
        image=png.getvalue()[: 40 if damaged else None],
        label="grey",
        given_split=None,
        mask=None,
        attributes={},
        defects=[],
    )


class Encoder(torch.nn.Module):
    """(b, 3, 4, 4) in [0, 1] to 5 values; some greys end the process."""

    key = "0123abcd"
    shape = (5,)
    input_size = 4

    def __init__(self, marker: Path | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(48, 5)
        self.marker = marker

    def prepare(self, images: list[Image.Image]) -> torch.Tensor:
        greys = {image.getpixel((0, 0))[0] for image in images}
        if POISON in greys or (ONCE in greys and self.marker and not self.marker.exists()):
            if ONCE in greys:
                self.marker.touch()
            os._exit(1)
        return torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1))


@pytest.fixture(scope="module")
def ray() -> Iterator[ModuleType]:
    """Ray with two CPUs, and this module's classes sent to its workers whole, as they cannot import it."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    handler = signal.getsignal(signal.SIGTERM)
    ray.init(
        "local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=80_000_000,
        log_to_driver=False,
    )
    signal.signal(signal.SIGTERM, handler)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield ray
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    ray.shutdown()


@pytest.fixture
def store(tmp_path) -> EmbeddingStore:
    return EmbeddingStore(tmp_path / "store")


def on_ray(greys, store, encoder=None, *, damaged=(), workers=2, **options):
    options = {"batch_size": 4, "shard_rows": 8, "device": "cpu"} | options
    images = table(greys, damaged)
    return embed_images_on_ray(images, encoder or Encoder(), store, workers=workers, **options)


def local(greys, folder: Path):
    options = {"batch_size": 4, "shard_rows": 8, "device": "cpu"}
    return embed_images(table(greys), Encoder(), EmbeddingStore(folder), **options)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:head"])
def test_an_address_where_no_ray_answers_is_named(store, address):
    with pytest.raises(ParameterError, match=rf"embed\.ray\.address is '{address}'"):
        on_ray([1], store, address=address)


def test_rows_of_two_workers_are_those_of_the_local_engine(ray, store, tmp_path):
    """FAULTS row 31; one worker, with other batches, is compared below."""
    greys = [*range(N), 3, 3]
    expected, local_summary = local(greys, tmp_path / "local")
    embeddings, summary = on_ray(greys, store, workers=2, batch_size=7, shard_rows=1)
    np.testing.assert_allclose(embeddings.values[:], expected.values[:], atol=1e-5)
    assert embeddings.image_id.tolist() == expected.image_id.tolist()
    assert embeddings.store_key == expected.store_key
    assert summary.keys() == local_summary.keys()
    assert (summary["embed/encoded"], summary["embed/cached"]) == (N, 2)
    assert rows_in(store, embeddings.store_key) == N


def test_a_second_run_of_either_engine_encodes_nothing(ray, store, tmp_path):
    first, _ = local(list(range(N)), tmp_path / "local")
    second, again = on_ray(list(range(N)), EmbeddingStore(tmp_path / "local"))
    assert (again["embed/encoded"], again["embed/cached"]) == (0, N)
    assert second.values[:].tobytes() == first.values[:].tobytes()


def test_every_row_once_and_in_order_when_the_one_worker_dies(ray, store, tmp_path, caplog):
    """FAULTS rows 29 and 31."""
    greys = [*range(N), ONCE]
    embeddings, summary = on_ray(greys, store, Encoder(tmp_path / "died"), workers=1)
    assert (tmp_path / "died").exists()
    assert "A Ray worker is gone" in caplog.text
    expected, _ = local(greys, tmp_path / "local")
    np.testing.assert_allclose(embeddings.values[:], expected.values[:], atol=1e-5)
    assert summary["embed/encoded"] == rows_in(store, embeddings.store_key) == N + 1


def test_an_image_that_kills_its_workers_is_named_and_all_others_are_stored(ray, store):
    """FAULTS row 30."""
    greys = [*range(10), POISON, *range(10, 20)]
    with pytest.raises(ImageError, match=r"^2 images .*train/3 \(.*\), train/10 \(1 workers died"):
        on_ray(greys, store, damaged=(3,), workers=1, max_retries=0)
    assert rows_in(store, f"{Encoder.key}.float32.float32") == 19
    rest = [grey for grey in greys if grey not in (3, POISON)]
    assert on_ray(rest, EmbeddingStore(store.root))[1]["embed/encoded"] == 0


def test_images_damaged_in_the_table_are_named_and_all_others_are_stored(ray, store, monkeypatch):
    """A batch that is damaged as a whole is no harm either."""
    encoded = ImageTable.encoded

    def damaged(table, row):
        if row in (*range(4), 9):
            raise ArtifactError("damaged")
        return encoded(table, row)

    monkeypatch.setattr(ImageTable, "encoded", damaged)
    with pytest.raises(ImageError, match=r"^5 images .*train/0 \(damaged\).*train/9 \(damaged\)"):
        on_ray(range(20), store)
    assert rows_in(store, f"{Encoder.key}.float32.float32") == 15


def test_an_error_in_a_worker_is_raised_here(ray, store):
    class Broken(Encoder):
        def forward(self, images):
            raise ParameterError("not these images")

    with pytest.raises(ParameterError, match="not these images"):
        on_ray([1, 2], store, Broken(), workers=1)


def test_a_gpu_is_asked_for_where_ray_has_none(ray, store):
    with pytest.raises(ParameterError, match=r"embed\.device is cuda, but Ray has no GPU"):
        on_ray([1], store, device="cuda")


def test_without_ray_the_error_says_how_to_get_it(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ParameterError, match=r"pip install -c constraints.txt -e '\.\[ray\]'"):
        on_ray([1], store)


def rows_in(store: EmbeddingStore, key: str) -> int:
    """Return how many rows the shards of a store hold, repeated ones included."""
    return sum(shard.rows for shard in store._manifest(key).shards().values())


def test_a_run_without_an_address_starts_ray_and_stops_it(tmp_path):
    """In a process of its own, as this one has a Ray already."""
    done = subprocess.run(
        [sys.executable, "-c", STARTS_RAY, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["4", "0", "False"]


STARTS_RAY = """
import sys
from pathlib import Path
from glasshead.embedding.on_ray import embed_images_on_ray
from glasshead.embedding.store import EmbeddingStore
from glasshead.images.scenes import CLASSES, ScenesParams, generate_scenes
from glasshead.images.table import ImageTable
from glasshead.models.backbone import BackboneParams
from glasshead.models.clip import load_encoder
import ray

scenes = generate_scenes(ScenesParams(train=3, test=1), 0)
images = ImageTable.from_records(scenes, CLASSES, ("colour", "habitat", "size"))
for _ in range(2):
    store = EmbeddingStore(Path(sys.argv[1]))
    _, summary = embed_images_on_ray(images, load_encoder(BackboneParams()), store, workers=1)
    print(summary["embed/encoded"])
print(ray.is_initialized())
"""
