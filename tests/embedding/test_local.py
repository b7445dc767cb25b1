"""The local engine encodes each content once, in order, and says what it did."""

import hashlib
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from glasshead.embedding.counting import CountingEncoder
from glasshead.embedding.hashes import as_hashes
from glasshead.embedding.local import embed_images
from glasshead.embedding.store import EmbeddingStore
from glasshead.errors import ArtifactError, EmbeddingError, ImageError, ParameterError


class Pictures:
    """An image table in memory: each image 4×4 in one grey."""

    def __init__(self, greys: list[int]) -> None:
        self.greys = greys
        self.releases = 0

    def __len__(self) -> int:
        return len(self.greys)

    def ids(self) -> pd.Series:
        return pd.Series([f"train/{row}" for row in range(len(self))])

    def hashes(self) -> np.ndarray:
        return as_hashes(hashlib.sha256(bytes([grey])).hexdigest() for grey in self.greys)

    def release(self) -> None:
        self.releases += 1

    def pil(self, row: int) -> Image.Image:
        return Image.new("RGB", (4, 4), (self.greys[row],) * 3)


class TinyEncoder(torch.nn.Module):
    """(b, 3, 4, 4) in [0, 1] → (grey, 1, grey²); counts its calls and the images in them."""

    key = "0123abcd"
    shape = (3,)
    input_size = 4

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def prepare(self, images: list[Image.Image]) -> torch.Tensor:
        return torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(images))
        grey = images.mean(dim=(1, 2, 3))
        return torch.stack([grey, torch.ones_like(grey), grey**2], dim=1)


def expected(greys: list[int]) -> np.ndarray:
    grey = np.array(greys) / 255
    return np.stack([grey, np.ones_like(grey), grey**2], axis=1)


@pytest.fixture
def store(tmp_path):
    return EmbeddingStore(tmp_path / "store")


def embed(greys, store, encoder=None, batch_size=2, shard_rows=4, device="cpu", **options):
    return embed_images(
        Pictures(greys),
        encoder or TinyEncoder(),
        store,
        batch_size=batch_size,
        shard_rows=shard_rows,
        device=device,
        **options,
    )


def test_rows_keep_their_order_and_their_norm(store):
    greys = [9, 3, 200, 3, 0, 77, 5]
    embeddings, summary = embed(greys, store)
    np.testing.assert_allclose(embeddings.values, expected(greys), atol=1e-6)
    assert embeddings.values[:].dtype == np.float32
    assert embeddings.image_id.tolist() == [f"train/{row}" for row in range(7)]
    assert embeddings.encoder_key == TinyEncoder.key
    assert summary["embed/mean_l2_norm"] == pytest.approx(
        np.linalg.norm(expected(greys), axis=1).mean()
    )
    assert summary["embed/shape"] == [3]
    assert summary["embed/device"] == "cpu"


def test_equal_content_is_encoded_once(store):
    encoder = TinyEncoder()
    _, summary = embed([1, 1, 2, 1, 2], store, encoder)
    assert sum(encoder.batches) == summary["embed/encoded"] == 2
    assert summary["embed/cached"] == 3


def test_a_second_run_makes_no_forward_pass(store):
    first, summary = embed(list(range(1, 8)), store)
    assert summary["embed/encoded"] == 7
    assert summary["embed/images_per_second"] > 0
    encoder = TinyEncoder()
    second, summary = embed(list(range(1, 8)), EmbeddingStore(store.root), encoder)
    assert encoder.batches == []
    assert (summary["embed/encoded"], summary["embed/cached"]) == (0, 7)
    assert summary["embed/images_per_second"] is None
    assert second.values[:].tobytes() == first.values[:].tobytes()


def test_a_grown_and_shuffled_table_encodes_only_new_content(store):
    embed([1, 2, 3], store)
    encoder = TinyEncoder()
    greys = [4, 3, 2, 5, 1]
    embeddings, summary = embed(greys, EmbeddingStore(store.root), encoder)
    assert sum(encoder.batches) == summary["embed/encoded"] == 2
    np.testing.assert_allclose(embeddings.values, expected(greys), atol=1e-6)


def test_another_encoder_is_a_miss(store):
    embed([1, 2, 3], store)
    other = TinyEncoder()
    other.key = "other"
    assert embed([1, 2, 3], store, other)[1]["embed/encoded"] == 3


@pytest.mark.parametrize(
    ("batch_size", "shard_rows", "shards"), [(2, 4, 3), (2, 3, 3), (16, 1, 1), (1, 1, 9)]
)
def test_a_shard_holds_whole_batches(store, batch_size, shard_rows, shards):
    encoder = TinyEncoder()
    embeddings, _ = embed(list(range(9)), store, encoder, batch_size, shard_rows)
    assert sorted(encoder.batches, reverse=True) == [batch_size] * (9 // batch_size) + [
        9 % batch_size
    ] * (9 % batch_size > 0)
    assert (
        len(list((store.root / f"{TinyEncoder.key}.float32.float32").glob("*.safetensors")))
        == shards
    )
    np.testing.assert_allclose(embeddings.values, expected(list(range(9))), atol=1e-6)


def threads() -> set[threading.Thread]:
    """Return those that a pool began; a progress bar of an earlier test may have one too."""
    return {each for each in threading.enumerate() if not each.daemon}


def test_an_error_stops_the_threads(tmp_path):
    """Nothing is encoded for a store that takes no more."""

    class Full(EmbeddingStore):
        def append(self, *_):
            raise EmbeddingError("full")

    encoder, before = TinyEncoder(), threads()
    with pytest.raises(EmbeddingError, match="full") as caught:
        embed([*range(200)], Full(tmp_path), encoder, batch_size=1, shard_rows=1)
    assert len(encoder.batches) < 50
    assert caught.value.__traceback__  # which holds the frames, but no generator that goes on
    assert threads() <= before


def test_the_memory_of_images_is_given_back_with_every_shard(store):
    """Else what was mapped stays in memory, as large as all images."""
    pictures = Pictures(list(range(1, 10)))
    embed_images(pictures, TinyEncoder(), store, batch_size=2, shard_rows=4, device="cpu")
    assert pictures.releases == 3


@pytest.mark.parametrize("error", [ImageError("truncated"), ArtifactError("damaged in the table")])
def test_images_that_cannot_be_read_are_named_and_all_others_stored(store, error):
    class Damaged(Pictures):
        def pil(self, row):
            if row in (0, 4, 5):
                raise error
            return super().pil(row)

    with pytest.raises(ImageError, match=rf"^3 images .*train/0 \({error}\), train/4 .*train/5 "):
        embed_images(
            Damaged(list(range(1, 9))),
            TinyEncoder(),
            store,
            batch_size=2,
            shard_rows=2,
            device="cpu",
        )
    encoder = TinyEncoder()
    embeddings, summary = embed(list(range(1, 9)), EmbeddingStore(store.root), encoder)
    assert summary["embed/encoded"] == 3
    np.testing.assert_allclose(embeddings.values, expected(list(range(1, 9))), atol=1e-6)


def test_cuda_is_asked_for_where_there_is_none(store, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ParameterError, match=r"embed\.device"):
        embed([1], store, device="cuda")
    assert embed([1], store, device="auto")[1]["embed/device"] == "cpu"


def test_progress_goes_to_stderr(store, capsys):
    embed([1, 2, 3], store)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "3/3" in captured.err
    assert "images/s" in captured.err


class Greedy(TinyEncoder):
    """Runs out of memory above `most` images at once."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        return super().forward(images)


@pytest.mark.parametrize("most", [1, 3, 7, 16])
def test_out_of_memory_halves_the_batch_and_changes_nothing_else(store, caplog, most):
    """FAULTS row 28."""
    greys = list(range(1, 40))
    embeddings, summary = embed(greys, store, Greedy(most), batch_size=16, shard_rows=16)
    np.testing.assert_allclose(embeddings.values[:], expected(greys), atol=1e-6)
    assert summary["embed/encoded"] == len(greys)
    assert ("Out of memory with 16 images" in caplog.text) == (most < 16)


def test_one_image_that_is_too_much_is_a_typed_error(store):
    with pytest.raises(EmbeddingError, match="A single image does not fit into the memory of cpu"):
        embed([1, 2, 3], store, Greedy(0), batch_size=4)


def test_a_halved_batch_size_is_kept(store):
    encoder = Greedy(4)
    embed(list(range(1, 65)), store, encoder, batch_size=16, shard_rows=64)
    assert max(encoder.batches) == 4
    assert len(encoder.batches) == 16


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_number_of_threads_changes_no_bit(store, tmp_path, threads):
    """FAULTS row 31."""
    torch.manual_seed(0)
    encoder = Linear()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        first = embed(list(range(60)), store, encoder, batch_size=7)[0].values[:]
        torch.set_num_threads(threads)
        other = EmbeddingStore(tmp_path / "other")
        second = embed(list(range(60)), other, encoder, batch_size=7)[0].values[:]
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert first.tobytes() == second.tobytes()


class Linear(TinyEncoder):
    """(b, 3, 4, 4) in [0, 1] to 5 values by weights that can be packed."""

    shape = (5,)

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(48, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1))


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-6), ("int8", 0.02)])
def test_precision_is_part_of_the_key_and_near_the_module(store, precision, tolerance):
    torch.manual_seed(0)
    encoder, greys = Linear(), list(range(0, 250, 10))
    embeddings, summary = embed(greys, store, encoder, precision=precision)
    pixels = encoder.prepare([Pictures(greys).pil(row) for row in range(len(greys))])
    with torch.inference_mode():
        direct = encoder(pixels / 255).numpy()
    np.testing.assert_allclose(embeddings.values[:], direct, atol=tolerance)
    assert embeddings.store_key == f"0123abcd.{precision}.float32"
    assert summary["embed/precision"] == precision
    assert summary["embed/gflops_per_second"] > 0


class Convolutional(TinyEncoder):
    """(b, 3, 4, 4) in [0, 1] to 5 values by overlapping convolutions and weights that can be packed."""

    shape = (5,)

    def __init__(self) -> None:
        super().__init__()
        self.maps = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.layer = torch.nn.Linear(8, 5)
        self.layouts: set[bool] = set()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.layouts.add(images.is_contiguous(memory_format=torch.channels_last))
        return self.layer(self.maps(images).relu().mean(dim=(2, 3)))


def test_a_convolutional_network_gets_its_channels_last_and_is_left_as_it_was(store):
    torch.manual_seed(0)
    encoder, greys = Convolutional(), list(range(0, 250, 10))
    before = encoder.maps.weight.stride()
    embeddings, _ = embed(greys, store, encoder)
    assert encoder.maps.weight.stride() == before
    assert encoder.layouts == set()  # a copy has computed
    pixels = encoder.prepare([Pictures(greys).pil(row) for row in range(len(greys))])
    with torch.inference_mode():
        direct = encoder(pixels / 255).numpy()
    np.testing.assert_allclose(embeddings.values[:], direct, atol=1e-6)
    counted = CountingEncoder(Convolutional(), "cpu")
    counted(pixels)
    assert counted._encoder.layouts == {True}


def test_a_network_that_reads_the_weights_of_its_layers_itself_is_not_packed(store):
    """Swin does so; a packed layer's weights have a layout that only its own operator reads."""

    class ByWeight(TinyEncoder):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3, 3)

        def forward(self, images):
            means = images.mean(dim=(2, 3))
            return torch.nn.functional.linear(means, self.layer.weight, self.layer.bias) + 5

    torch.manual_seed(0)
    encoder = ByWeight()
    encoder.shape = (3,)
    counted = CountingEncoder(encoder, "cpu")
    pixels = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(counted(pixels), encoder(pixels / 255))
    with pytest.raises(ParameterError, match="ByWeight cannot compute in int8"):
        CountingEncoder(encoder, "cpu", "int8")(pixels)


def test_a_precision_that_the_device_lacks_is_refused(store):
    with pytest.raises(ParameterError, match="bfloat16, but cpu supports float32 or int8"):
        embed([1], store, precision="bfloat16")


def test_float16_is_stored_beside_float32(store):
    exact = embed([10, 20, 30], store)[0]
    half = embed([10, 20, 30], store, dtype="float16")[0]
    assert exact.store_key != half.store_key
    np.testing.assert_allclose(half.values[:], exact.values[:], rtol=2**-11)
    assert not np.array_equal(half.values[:], exact.values[:])


def test_a_batch_size_is_chosen_by_the_size_of_images(store):
    assert embed([1], store, batch_size=None)[1]["embed/batch_size"] == 32
    large = TinyEncoder()
    large.input_size = 224
    assert embed([2], store, large, batch_size=None)[1]["embed/batch_size"] == 8
    convolutional = Convolutional()
    convolutional.input_size = 224
    assert embed([3], store, convolutional, batch_size=None)[1]["embed/batch_size"] == 2
