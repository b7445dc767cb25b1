"""The embedding cache: lookups, shards, manifest, and what it refuses."""

import json
import logging
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from glasshead.embedding.store import EmbeddingStore
from glasshead.errors import EmbeddingError

KEY = "0123abcd"


def rows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (n, 32), dtype=np.uint8), random.normal(size=(n, 4)).astype(
        np.float32
    )


@pytest.fixture
def store(tmp_path):
    return EmbeddingStore(tmp_path / "store")


def manifest(store: EmbeddingStore) -> list[dict]:
    return json.loads((store.root / KEY / "manifest.json").read_text())["shards"]


def test_what_was_appended_is_found_in_the_order_asked(store):
    hashes, values = rows(6)
    store.append(KEY, hashes[:4], values[:4])
    store.append(KEY, hashes[4:], values[4:])
    unknown, _ = rows(2, seed=1)
    order = [5, 0, 0, 3]
    rows_of = EmbeddingStore(store.root).rows(KEY, np.concatenate([hashes[order], unknown]))
    assert rows_of.found.tolist() == [True] * 4 + [False] * 2
    assert rows_of.shape == (6, 4)
    np.testing.assert_array_equal(rows_of[:4], values[order])
    np.testing.assert_array_equal(rows_of[[2, 0]], values[[0, 5]])
    np.testing.assert_array_equal(
        rows_of[np.array([False, True, False, False, False, False])], values[[0]]
    )
    with pytest.raises(EmbeddingError, match="2 of these rows are not in the store"):
        rows_of[:]


def test_a_store_that_is_not_there_knows_nothing_and_is_not_created(store):
    assert not store.rows(KEY, rows(3)[0]).found.any()
    assert not store.root.exists()


def test_another_key_is_a_miss(store):
    hashes, values = rows(3)
    store.append(KEY, hashes, values)
    assert not store.rows("other", hashes).found.any()


def test_asking_for_nothing_returns_nothing(store):
    store.append(KEY, *rows(3))
    nothing = store.rows(KEY, np.empty((0, 32), np.uint8))
    assert len(nothing) == len(nothing.found) == 0


@given(
    npst.arrays(np.uint8, (6, 32), elements=st.sampled_from([0, 1, 255]), unique=False),
    st.permutations(range(6)),
)
def test_hashes_are_told_apart_to_the_last_byte(hashes, order):
    """Zero bytes at the end matter; against a plain dictionary."""
    hashes[1:3, :31] = hashes[0, :31]
    values = np.arange(1, 25, dtype=np.float32).reshape(6, 4)
    known = {hashes[row].tobytes(): values[row] for row in order[:4]}

    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddingStore(Path(folder))
        store.append(KEY, hashes[order[:4]], values[order[:4]])
        found = store.rows(KEY, hashes)
    for row in range(6):
        assert found.found[row] == (hashes[row].tobytes() in known)
        if found.found[row]:
            np.testing.assert_array_equal(found[[row]][0], known[hashes[row].tobytes()])


def test_rows_that_are_there_already_do_no_harm(store):
    hashes, values = rows(4)
    store.append(KEY, hashes[:3], values[:3])
    store.append(KEY, hashes[:3], values[:3])
    store.append(KEY, hashes[1:], values[1:])
    np.testing.assert_array_equal(store.rows(KEY, hashes)[:], values)
    assert len(manifest(store)) == 2


def test_the_manifest_describes_each_shard(store):
    store.append(KEY, *rows(5))
    (shard,) = manifest(store)
    assert shard["rows"] == 5
    assert shard["shape"] == [5, 4]
    assert shard["dtype"] == "float32"
    assert shard["file"] == f"{shard['sha256']}.safetensors"
    assert sorted(path.name for path in (store.root / KEY).iterdir()) == [
        shard["file"],
        "manifest.json",
    ]


def test_readers_trust_only_the_manifest_and_writers_repair_it(store):
    hashes, values = rows(4)
    store.append(KEY, hashes[:2], values[:2])
    before = (store.root / KEY / "manifest.json").read_bytes()
    store.append(KEY, hashes[2:], values[2:])
    after = (store.root / KEY / "manifest.json").read_bytes()
    (store.root / KEY / "manifest.json").write_bytes(
        before
    )  # as a race of two writers may leave it
    reader = EmbeddingStore(store.root)
    assert reader.rows(KEY, hashes).found.tolist() == [True, True, False, False]
    reader.open_for_writing(KEY)
    assert reader.rows(KEY, hashes).found.all()
    assert (store.root / KEY / "manifest.json").read_bytes() == after


OUTSIDE = {
    "file": "../x.safetensors",
    "sha256": "x",
    "rows": 1,
    "shape": [1, 1],
    "dtype": "float32",
}


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "{",
        "[]",
        '{"shards": 3}',
        '{"shards": [{"file": "x"}]}',
        json.dumps({"shards": [OUTSIDE]}),
    ],
)
def test_a_damaged_manifest_is_reported_and_rebuilt(store, caplog, damaged):
    hashes, values = rows(4)
    store.append(KEY, hashes, values)
    good = manifest(store)
    (store.root / KEY / "manifest.json").write_text(damaged)
    reader = EmbeddingStore(store.root)
    with caplog.at_level(logging.WARNING):
        assert not reader.rows(KEY, hashes).found.any()
    reader.open_for_writing(KEY)
    assert caplog.text.count("manifest.json is damaged") == 1
    assert manifest(reader) == good


def test_a_shard_that_is_gone_is_a_miss(store, caplog):
    hashes, values = rows(4)
    store.append(KEY, hashes[:2], values[:2])
    (store.root / KEY / manifest(store)[0]["file"]).unlink()
    store.append(KEY, hashes[2:], values[2:])
    assert EmbeddingStore(store.root).rows(KEY, hashes).found.tolist() == [False, False, True, True]
    assert "is gone: its embeddings count as missing" in caplog.text


@pytest.mark.parametrize("keep", [-1, 9])
def test_a_damaged_shard_is_reported_once_and_removed(store, caplog, keep):
    hashes, values = rows(4)
    store.append(KEY, hashes, values)
    (shard,) = (store.root / KEY).glob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:keep])
    reader = EmbeddingStore(store.root)
    for _ in range(2):
        assert not reader.rows(KEY, hashes).found.any()
        reader.open_for_writing(KEY)
    assert [record.getMessage().count("is damaged") for record in caplog.records] == [1]
    assert not shard.exists()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0])
def test_what_is_no_embedding_is_refused_by_name(store, bad):
    hashes, values = rows(3)
    values[1] = bad
    with pytest.raises(EmbeddingError, match=r"1 of 3 embeddings .* zero in float32: train/1\."):
        store.append(KEY, hashes, values, ["train/0", "train/1", "train/2"])
    with pytest.raises(EmbeddingError, match=hashes[1].tobytes().hex()):
        store.append(KEY, hashes, values)
    assert not store.root.exists()


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 4, 4)])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_outputs_of_any_shape_come_back_as_float32(store, shape, dtype):
    hashes, _ = rows(6)
    values = np.random.default_rng(1).normal(size=(6, *shape)).astype(dtype)
    store.append(KEY, hashes, values)
    read = store.rows(KEY, hashes)[:]
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, values.astype(np.float32))
    assert manifest(store)[0]["dtype"] == dtype


def test_float16_keeps_eleven_bits(store):
    hashes, values = rows(50)
    store.append(KEY, hashes, values.astype(np.float16))
    np.testing.assert_allclose(store.rows(KEY, hashes)[:], values, rtol=2**-11, atol=2**-25)
    with (
        pytest.raises(EmbeddingError, match="infinite or zero in float16"),
        np.errstate(over="ignore"),
    ):
        store.append(KEY, hashes, (values * 1e6).astype(np.float16))


def test_rows_are_read_from_the_map_and_opening_reads_none(store, monkeypatch):
    """Values are touched when rows are asked for, and then of their shards alone."""
    hashes, values = rows(400)
    for part in range(4):
        store.append(KEY, hashes[100 * part :][:100], values[100 * part :][:100])
    verified: list[Path] = []
    whole = EmbeddingStore._is_whole
    monkeypatch.setattr(
        EmbeddingStore, "_is_whole", lambda self, path: verified.append(path) or whole(self, path)
    )
    reader = EmbeddingStore(store.root)
    view = reader.rows(KEY, hashes[250:260])
    assert len(verified) == 1
    assert all(isinstance(shard, np.memmap) for shard in view._shards)
    np.testing.assert_array_equal(view[:], values[250:260])


@pytest.mark.parametrize("seed", range(8))
def test_the_last_listing_mends_what_another_writer_left_out(tmp_path, seed):
    """The other one read the manifest before this shard was added, and replaced it afterwards."""
    ours, other = EmbeddingStore(tmp_path), EmbeddingStore(tmp_path)
    (first, second), (early, late) = zip(*[rows(4, seed), rows(4, seed + 100)], strict=True)
    ours.append(KEY, first, early)
    stale = other._manifest(KEY).shards()
    ours.append(KEY, second, late)
    other._manifest(KEY).replace(stale.values())
    assert not EmbeddingStore(tmp_path).rows(KEY, second).found.any()
    ours.open_for_writing(KEY)
    assert EmbeddingStore(tmp_path).rows(KEY, np.concatenate([first, second])).found.all()
