"""What lies at an fsspec address is read as the same files on this machine are, and its failures are named."""

import io
import shutil
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import assume, given
from hypothesis import strategies as st
from kedro.framework.cli.utils import _split_params
from PIL import Image

from glasshead.errors import SourceError
from glasshead.images.sources import image_folder
from glasshead.images.sources.params import IngestParams
from glasshead.images.sources.read import Ingested, read_source


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (value % 256, 100, 50)).save(buffer, "PNG")
    return buffer.getvalue()


def read(source: str, path: str | Path, max_bad_fraction: float = 0.01) -> Ingested:
    params = {"source": source, "max_bad_fraction": max_bad_fraction, source: {"path": path}}
    return read_source(IngestParams.model_validate(params), seed=0)


def assert_same(found: Ingested, expected: Ingested) -> None:
    """Assert that two tables have the same rows in the same order, with the same bytes, and the same quarantine."""
    assert found.images.classes == expected.images.classes
    pd.testing.assert_frame_equal(found.images.frame(), expected.images.frame())
    assert found.images.digest() == expected.images.digest()
    pd.testing.assert_frame_equal(found.quarantine, expected.quarantine)
    assert found.counts == expected.counts


def write_images(root: Path, *names: str) -> Path:
    for k, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(k))
    return root


@pytest.fixture
def memory(monkeypatch) -> MemoryFileSystem:
    """Return fsspec's memory, empty for the time of a test."""
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    return MemoryFileSystem()


@pytest.fixture
def upload(memory) -> Callable[[Path], str]:
    """Return a function that copies a folder's files to a bucket in memory, and returns its address."""

    def upload(root: Path) -> str:
        for path in sorted(root.rglob("*"), reverse=True):
            if path.is_file():
                name = path.relative_to(root).as_posix()
                memory.pipe_file(f"/bucket/images/{name}", path.read_bytes())
        return "memory://bucket/images"

    return upload


class Trouble(MemoryFileSystem):
    """fsspec's memory, which keeps listings, and in which some files cannot be read, have no size, or are special."""

    protocol = "trouble"
    raised: ClassVar[dict[str, Exception]] = {}
    described: ClassVar[dict[str, dict]] = {}

    @classmethod
    def _strip_protocol(cls, path):
        return MemoryFileSystem._strip_protocol(path.removeprefix("trouble://"))

    def ls(self, path, detail=True, **kwargs):
        if path not in self.dircache:
            self.dircache[path] = [
                info | self.described.get(info["name"].rsplit("/", 1)[-1], {})
                for info in super().ls(path, detail=True)
            ]
        return self.dircache[path]

    def invalidate_cache(self, path=None):
        if path is None:
            self.dircache.clear()
        self.dircache.pop(path, None)

    def size(self, path):
        return self.described.get(path.rsplit("/", 1)[-1], {}).get("size", super().size(path))

    def cat_file(self, path, start=None, end=None, **kwargs):
        if error := self.raised.get(path.rsplit("/", 1)[-1]):
            raise error
        return super().cat_file(path, start, end, **kwargs)


@pytest.fixture
def trouble(memory, monkeypatch) -> type[Trouble]:
    """Return the class of a storage with the images a/0.png to a/2.png, b/3.png and b/4.png at trouble://bucket."""
    fsspec.register_implementation("trouble", Trouble, clobber=True)
    Trouble.clear_instance_cache()
    monkeypatch.setattr(Trouble, "raised", {})
    monkeypatch.setattr(Trouble, "described", {})
    for k, name in enumerate(("a/0.png", "a/1.png", "a/2.png", "b/3.png", "b/4.png")):
        memory.pipe_file(f"/bucket/{name}", png(k))
    return Trouble


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Yield a function that serves a folder over HTTP and returns its URL."""
    servers = []

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args) -> None:
            pass

    def serve(folder: Path) -> str:
        handler = partial(Handler, directory=str(folder))
        servers.append(Server(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


class TestLocation:
    @pytest.mark.parametrize(
        "path", ["s3://bucket/dir//deep", "memory://x", "zip::s3://bucket/images.zip", "hf://a/b"]
    )
    @pytest.mark.parametrize("source", ["parquet", "image_folder"])
    def test_an_address_stays_as_it_was_given(self, source, path):
        params = IngestParams.model_validate({"source": source, source: {"path": path}})
        assert getattr(params, source).path == path
        assert IngestParams.model_validate(params.model_dump(mode="json")) == params

    @pytest.mark.parametrize(
        ("given", "path"),
        [
            ("data/images", "data/images"),
            ("/data/a::b", "/data/a::b"),
            ("a::b/c", "a::b/c"),
            ("file:///data/images", "/data/images"),
            ("local://images", "images"),
        ],
    )
    def test_any_other_is_a_path(self, given, path):
        params = IngestParams.model_validate({"image_folder": {"path": given}})
        assert params.image_folder.path == Path(path)

    def test_the_command_line_passes_an_address_through(self):
        given = "ingest.source=parquet,ingest.parquet.path=zip::s3://bucket/dir/images.zip"
        params = IngestParams.model_validate(_split_params(None, None, given)["ingest"])
        assert params.parquet.path == "zip::s3://bucket/dir/images.zip"


class TestImageFolder:
    NAMES = (
        "train/cat/b.png",
        "train/cat/b/1.png",
        "train/cat/b-1/2.png",
        "train/cat/größe ✓.png",
        "train/cat/[1]*?.png",
        "train/dog/10.png",
        "train/dog/9.png",
        "train/dog/.hidden.png",
        "train/.hidden/1.png",
        "train/dog/Thumbs.db",
        "__MACOSX/train/1.png",
        "test/cat/1.png",
        "test/stray.png",
        "stray.png",
    )

    def test_a_bucket_gives_the_table_of_the_same_files_here(self, tmp_path, upload):
        write_images(tmp_path, *self.NAMES)
        (tmp_path / "train/dog/bad.png").write_bytes(b"<html>")
        expected = read("image_folder", tmp_path, max_bad_fraction=0.5)
        assert expected.quarantine["file"].tolist() == [
            "stray.png",
            "test/stray.png",
            "train/dog/bad.png",
        ]
        for address in (upload(tmp_path), upload(tmp_path) + "/"):
            assert_same(read("image_folder", address, max_bad_fraction=0.5), expected)

    def test_a_folder_may_be_the_whole_bucket(self, memory):
        for k, name in enumerate(("a/1.png", "b/2.png")):
            memory.pipe_file(name, png(k))
        found = read("image_folder", "memory://").images.frame()["image_id"]
        assert found.tolist() == ["a/1.png", "b/2.png"]

    def test_an_archive_gives_the_table_of_the_same_files_here(self, tmp_path):
        root = write_images(tmp_path / "root", *self.NAMES)
        with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
            for path in sorted(root.rglob("*"), reverse=True):
                archive.write(path, path.relative_to(root))
        expected = read("image_folder", root, max_bad_fraction=0.5)
        address = f"zip::file://{tmp_path}/images.zip"
        assert_same(read("image_folder", address, max_bad_fraction=0.5), expected)

    def test_a_web_server_gives_the_table_of_the_same_files_here(self, tmp_path, serve):
        root = write_images(tmp_path, *(f"{label}/{k}.png" for label in "ab" for k in range(50)))
        expected = read("image_folder", root)
        assert_same(read("image_folder", serve(tmp_path)), expected)

    @given(
        names=st.sets(
            st.lists(st.text("a-./[é", min_size=1, max_size=3), min_size=1, max_size=3).map(
                "/".join
            ),
            min_size=1,
            max_size=12,
        )
    )
    def test_any_names_come_in_the_order_of_the_same_files_here(self, names, tmp_path_factory):
        root = tmp_path_factory.mktemp("names")
        memory = MemoryFileSystem(global_store=False, skip_instance_cache=True)
        for name in sorted(f"x/{name}" for name in names):
            path = root / name
            if {"", ".", ".."} & set(name.split("/")) or any(p.is_file() for p in path.parents):
                continue
            if not path.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
                memory.pipe_file(f"/root/{name}", b"")
        assume(memory.store)
        remote = image_folder.Remote("memory://root", memory, "/root")
        assert [file.name for file in remote.files()] == [
            path.relative_to(root).as_posix() for path in image_folder._files(root)
        ]

    def test_file_addresses_have_the_protections_of_paths(self, tmp_path):
        root = write_images(tmp_path / "root", "a/1.png", "b/1.png")
        outside = write_images(tmp_path, "secret.png") / "secret.png"
        (root / "a" / "outside.png").symlink_to(outside)
        quarantine = read("image_folder", f"file://{root}", max_bad_fraction=0.5).quarantine
        assert quarantine["file"].tolist() == ["a/outside.png"]

    def test_links_and_special_files_of_a_storage_are_not_read(self, trouble):
        trouble.described |= {"1.png": {"type": "other"}, "2.png": {"islink": True}}
        quarantine = read("image_folder", "trouble://bucket", 1.0).quarantine
        assert quarantine.to_dict("list") == {
            "file": ["a/1.png", "a/2.png"],
            "reason": 2 * ["not a regular file"],
        }

    def test_a_file_that_is_too_large_or_of_unknown_size_is_not_fetched(self, trouble):
        trouble.described |= {"1.png": {"size": 2**28 + 1}, "3.png": {"size": None}}
        trouble.raised |= {"1.png": AssertionError("read"), "3.png": AssertionError("read")}
        with pytest.raises(SourceError, match="2 of 5") as error:
            read("image_folder", "trouble://bucket")
        assert "too large: 268435457 bytes, the limit is 268435456" in str(error.value)
        assert "does not tell its size" in str(error.value)

    def test_a_fetch_is_bounded_in_files_and_bytes(self, monkeypatch):
        monkeypatch.setattr(image_folder, "MAX_BYTES", 100)
        monkeypatch.setattr(image_folder, "AT_ONCE", 3)
        sizes = [101, 60, 40, 1, 1, 1, 1, 1, 100, 101]
        files = [image_folder.RemoteFile(str(k), size, True) for k, size in enumerate(sizes)]
        batches = [[file.size for file in batch] for batch in image_folder._batches(files)]
        assert batches == [[101], [60, 40], [1, 1, 1], [1, 1], [100], [101]]

    @pytest.mark.parametrize("kind", [FileNotFoundError, PermissionError])
    def test_one_file_that_is_gone_or_forbidden_goes_to_quarantine(self, trouble, kind):
        trouble.raised["2.png"] = kind("a/2.png")
        ingested = read("image_folder", "trouble://bucket", 0.5)
        assert ingested.images.frame()["image_id"].tolist() == [
            "a/0.png",
            "a/1.png",
            "b/3.png",
            "b/4.png",
        ]
        assert ingested.quarantine["reason"].tolist() == ["cannot be read: a/2.png"]

    def test_a_storage_that_stops_to_answer_stops_the_run(self, trouble):
        trouble.raised["2.png"] = ConnectionResetError("peer is gone")
        with pytest.raises(SourceError, match=r"trouble://bucket .*ConnectionResetError: peer is"):
            read("image_folder", "trouble://bucket", 1.0)

    def test_listings_are_fresh_and_leave_nothing_in_memory(self, trouble, memory):
        system, _ = fsspec.url_to_fs("trouble://bucket")
        system.ls("/bucket/a")
        memory.pipe_file("/bucket/a/5.png", png(5))
        assert len(read("image_folder", "trouble://bucket").images) == 6
        assert not system.dircache


class TestParquet:
    @pytest.fixture
    def folder(self, tmp_path) -> Path:
        def write(name: str, *labels: str) -> None:
            images = [{"bytes": png(k), "path": None} for k in range(len(labels))]
            pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / name)

        write("train-00000-of-00002.parquet", "cat", "dog", "dog")
        write("train-00001-of-00002.parquet", "dog")
        write("test.parquet", "cat")
        write("unlabelled.parquet", "cat")
        return tmp_path

    def test_a_bucket_or_a_web_server_gives_the_table_of_the_same_files_here(
        self, folder, upload, serve, caplog
    ):
        expected = read("parquet", folder)
        for root in (upload(folder), serve(folder)):
            caplog.clear()
            assert_same(read("parquet", root), expected)
            assert "unlabelled.parquet" in caplog.text

    def test_one_file_of_a_bucket_or_a_web_server(self, folder, upload, serve):
        name = "train-00000-of-00002.parquet"
        expected = read("parquet", folder / name)
        for root in (upload(folder), serve(folder)):
            assert_same(read("parquet", f"{root}/{name}"), expected)

    def test_a_folder_without_train_and_a_damaged_file_are_named(self, memory):
        memory.pipe_file("/bucket/test.parquet", b"PAR1 and nothing more")
        with pytest.raises(SourceError, match=r"memory://bucket has no train\.parquet"):
            read("parquet", "memory://bucket")
        with pytest.raises(SourceError, match=r"memory://bucket/test\.parquet .*ArrowInvalid"):
            read("parquet", "memory://bucket/test.parquet")

    def test_a_storage_that_stops_to_answer_stops_the_run(self, folder, upload, monkeypatch):
        noise = np.random.default_rng(0).bytes(2**17)  # more than is read with the schema
        pq.write_table(pa.table({"image": [noise], "label": ["cat"]}), folder / "train.parquet")
        address = upload(folder) + "/train.parquet"
        opened = MemoryFileSystem.open

        class Broken(io.BytesIO):
            """Gives its end, where the schema stands, and no more."""

            def read(self, size=-1):
                if self.tell() < 8:
                    raise RuntimeError("peer is gone")  # no OSError, as in botocore
                return super().read(size)

        monkeypatch.setattr(
            MemoryFileSystem, "open", lambda *args: Broken(opened(*args).getvalue())
        )
        with pytest.raises(SourceError, match=r"cannot be reached: .*peer is gone"):
            read("parquet", address)


class TestConnecting:
    @pytest.mark.parametrize("source", ["parquet", "image_folder"])
    @pytest.mark.parametrize(
        ("address", "package"),
        [
            ("s3://bucket/images", "s3fs"),
            ("gs://bucket/images", "gcsfs"),
            ("abfs://container/images", "adlfs"),
            ("zip::s3://bucket/images.zip", "s3fs"),
        ],
    )
    def test_an_absent_package_is_named(self, monkeypatch, source, address, package):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(
            SourceError, match=rf"^{address} .*`pip install -c constraints.txt {package}`\.$"
        ):
            read(source, address)

    @pytest.mark.parametrize("source", ["parquet", "image_folder"])
    @pytest.mark.parametrize(
        ("address", "message"),
        [
            ("s4://bucket/images", "Protocol not known: s4"),
            ("http://127.0.0.1:9/images", "cannot be read: .*Check the address, the network"),
            ("memory://bucket/nowhere", "does not exist"),
            ("zip:///tmp/images.zip", "Write zip::file:///PATH, or"),
            ("tar://images.tar", "Write tar::file:///PATH, or"),
        ],
    )
    @pytest.mark.usefixtures("memory")
    def test_what_cannot_be_reached_is_named(self, source, address, message):
        with pytest.raises(SourceError, match=f"^{address} .*{message}"):
            read(source, address)

    def test_an_address_without_class_folders_is_named(self, memory):
        memory.pipe_file("/bucket/1.png", png(0))
        with pytest.raises(SourceError, match="memory://bucket has no folder per class"):
            read("image_folder", "memory://bucket")


def test_an_archive_that_is_none_is_named(tmp_path):
    shutil.copy(__file__, tmp_path / "images.zip")
    with pytest.raises(SourceError, match=r"cannot be read: BadZipFile"):
        read("image_folder", f"zip::file://{tmp_path}/images.zip")
