"""Every source gives the table that its files hold, and says what is wrong where they do not."""

import hashlib
import io
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError
from torchvision.datasets import CIFAR10

from glasshead.errors import SourceError
from glasshead.images.scenes import CLASSES, ScenesParams
from glasshead.images.sources.base import Source, plain_record
from glasshead.images.sources.params import IngestParams
from glasshead.images.sources.read import Ingested, read_source


def jpeg(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (value % 256, 100, 50)).save(buffer, "JPEG")
    return buffer.getvalue()


def read(source: str, max_bad_fraction: float = 0.01, **block) -> Ingested:
    params = {"source": source, "max_bad_fraction": max_bad_fraction, source: block}
    return read_source(IngestParams.model_validate(params), seed=0)


def rows(ingested: Ingested, *columns: str) -> list[tuple]:
    return list(ingested.images.frame()[list(columns)].itertuples(index=False, name=None))


class TestParameters:
    def test_an_unknown_source_is_refused_with_the_kinds_there_are(self):
        with pytest.raises(
            ValidationError, match="one of scenes, cifar10, parquet, image_folder, hub"
        ):
            IngestParams.model_validate({"source": "imagenet"})

    @pytest.mark.parametrize(
        ("source", "name"),
        [("parquet", "parquet.path"), ("image_folder", "image_folder.path"), ("hub", "hub.id")],
    )
    def test_a_source_without_its_location_is_refused(self, source, name):
        with pytest.raises(ValidationError, match=f"Set ingest.{name} too"):
            IngestParams.model_validate({"source": source})

    @pytest.mark.parametrize("block", ["scenes", "cifar10", "parquet", "image_folder", "hub"])
    def test_a_mistyped_name_in_any_block_is_refused(self, block):
        with pytest.raises(ValidationError, match="colums"):
            IngestParams.model_validate({block: {"colums": 1}})


class TestScenes:
    def test_the_table_holds_labels_attributes_masks_and_counts(self):
        ingested = read("scenes", train=40, test=20)
        assert ingested.images.classes == CLASSES
        assert rows(ingested, "image_id", "label", "given_split")[0] == (
            "train/000000",
            CLASSES[0],
            "train",
        )
        assert ingested.counts["images"] == 60
        assert ingested.counts["given_splits"] == {"train": 40, "test": 20}
        assert ingested.counts["classes"] == dict.fromkeys(CLASSES, 6)
        assert ingested.images.mask(0).shape == (32, 32)
        attributes = ingested.images.frame().filter(like="attribute/")
        assert set(attributes) == {"attribute/colour", "attribute/habitat", "attribute/size"}
        assert attributes.notna().all(axis=None)
        assert list(ingested.planted.columns) == ["image_id", "defect", "detail"]

    def test_planted_corrupt_files_are_those_in_quarantine(self):
        ingested = read("scenes", max_bad_fraction=1.0, train=60, test=20, defects={"corrupt": 0.2})
        planted = ingested.planted.query("defect == 'corrupt'")["image_id"]
        assert len(planted) > 3
        assert ingested.quarantine["file"].tolist() == planted.tolist()
        assert ingested.counts["quarantined"] == len(planted) == 80 - len(ingested.images)

    def test_two_reads_with_one_seed_agree(self):
        first, second = (read("scenes", train=20, test=10) for _ in range(2))
        assert first.images.digest() == second.images.digest()


class TestCIFAR10:
    """A folder in torchvision's format, with MD5s of its own."""

    @pytest.fixture
    def folder(self, tmp_path, write_cifar10) -> Path:
        return write_cifar10(tmp_path, [3, 8, 8, 0])

    @pytest.fixture
    def requests(self, folder, monkeypatch) -> Iterator[list[str]]:
        """Serve the folder's archive over HTTP; yields the list of requests so far."""
        served = folder / "served"
        served.mkdir()
        with tarfile.open(served / CIFAR10.filename, "w:gz") as tar:
            tar.add(folder / CIFAR10.base_folder, CIFAR10.base_folder)
        requests: list[str] = []

        class Handler(SimpleHTTPRequestHandler):
            def log_request(self, *args) -> None:
                requests.append(self.command)

        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(served)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{CIFAR10.filename}"
        md5 = hashlib.md5((served / CIFAR10.filename).read_bytes()).hexdigest()
        monkeypatch.setattr(CIFAR10, "url", url)
        monkeypatch.setattr(CIFAR10, "tgz_md5", md5)
        yield requests
        server.shutdown()
        server.server_close()

    def test_a_local_folder_is_read_without_loss(self, folder):
        ingested = read("cifar10", folder=folder, download=False)
        assert ingested.images.classes == CLASSES
        assert ingested.counts["given_splits"] == {"train": 20, "test": 4}
        assert rows(ingested, "image_id", "label", "given_split")[20] == (
            "test/000000",
            "cat",
            "test",
        )
        expected = CIFAR10(str(folder), train=True).data[7]
        assert np.array_equal(ingested.images.pil(7), expected)

    def test_a_missing_folder_says_what_to_do(self, tmp_path):
        with pytest.raises(
            SourceError, match=r"Unpack cifar-10-python.tar.gz there.*download=true"
        ):
            read("cifar10", folder=tmp_path, download=False)

    def test_a_damaged_file_is_named_with_both_hashes(self, folder):
        (folder / CIFAR10.base_folder / "data_batch_2").write_bytes(b"not what it was")
        expected = f"data_batch_2 has MD5 {hashlib.md5(b'not what it was').hexdigest()}, expected"
        with pytest.raises(SourceError, match=expected):
            read("cifar10", folder=folder)

    def test_a_download_is_checked_unpacked_and_leaves_nothing_else(self, requests, tmp_path):
        target = tmp_path / "new" / "raw"
        assert len(read("cifar10", folder=target).images) == 24
        assert [path.name for path in target.iterdir()] == [CIFAR10.base_folder]
        seen = len(requests)
        assert len(read("cifar10", folder=target).images) == 24
        assert len(requests) == seen

    def test_a_cut_archive_is_refused_after_one_retry_and_leaves_nothing(self, requests, tmp_path):
        good, archive = CIFAR10.tgz_md5, tmp_path / "served" / CIFAR10.filename
        archive.write_bytes(archive.read_bytes()[:-100])
        bad = hashlib.md5(archive.read_bytes()).hexdigest()
        target = tmp_path / "raw"
        with pytest.raises(SourceError, match=f"MD5 {bad} instead of {good}"):
            read("cifar10", folder=target)
        assert list(target.iterdir()) == []
        assert requests == 4 * ["GET"]  # torchvision asks twice each time, first for redirects

    def test_no_network_says_what_to_do(self, folder, tmp_path, monkeypatch):
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:9/{CIFAR10.filename}")
        with pytest.raises(
            SourceError, match=r"cannot be downloaded.*unpack cifar-10-python.tar.gz"
        ):
            read("cifar10", folder=tmp_path / "raw")


def huggingface_table(
    labels: list, names: list[str] | None = None, images: list | None = None
) -> pa.Table:
    images = images or [{"bytes": jpeg(k), "path": f"{k}.jpg"} for k in range(len(labels))]
    table = pa.table({"label": labels, "image": images})
    if names:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata(
            {"huggingface": json.dumps({"info": {"features": features}})}
        )
    return table


class TestParquet:
    def test_a_folder_with_train_and_test(self, tmp_path):
        pq.write_table(huggingface_table([1, 0, 1], ["frog", "ant"]), tmp_path / "train.parquet")
        pq.write_table(huggingface_table([0], ["frog", "ant"]), tmp_path / "test.parquet")
        ingested = read("parquet", path=tmp_path)
        assert ingested.images.classes == ("frog", "ant")
        assert rows(ingested, "image_id", "label", "given_split") == [
            ("train/000000", "ant", "train"),
            ("train/000001", "frog", "train"),
            ("train/000002", "ant", "train"),
            ("test/000000", "frog", "test"),
        ]
        assert ingested.images.encoded(2) == jpeg(2)

    def test_shards_count_on(self, tmp_path):
        for k in range(2):
            table = huggingface_table([0, 1], ["frog", "ant"])
            pq.write_table(table, tmp_path / f"train-0000{k}-of-00002.parquet")
        assert [row[0] for row in rows(read("parquet", path=tmp_path), "image_id")] == [
            f"train/00000{k}" for k in range(4)
        ]

    def test_attribute_columns_are_kept_as_text(self, tmp_path):
        table = huggingface_table([1, 0, 1], ["frog", "ant"])
        table = table.append_column("legs", [[6, 4, None]]).append_column("sky", [["a", "b", ""]])
        path = tmp_path / "all.parquet"
        pq.write_table(table, path)
        ingested = read("parquet", path=path, attribute_columns=["sky", "legs"])
        assert rows(ingested, "attribute/sky", "attribute/legs")[:2] == [("a", "6"), ("b", "4")]
        for name in ("legs", "sky"):
            assert ingested.images.frame()[f"attribute/{name}"].isna().tolist() == [
                False,
                False,
                True,
            ]
        with pytest.raises(SourceError, match="no column wings"):
            read("parquet", path=path, attribute_columns=["wings"])

    def test_a_split_that_is_not_read_is_named(self, tmp_path, caplog):
        for split in ("train", "unlabelled"):
            pq.write_table(huggingface_table([1, 0], ["a", "b"]), tmp_path / f"{split}.parquet")
        assert len(read("parquet", path=tmp_path).images) == 2
        assert "unlabelled.parquet" in caplog.text

    def test_validation_files_are_a_split(self, tmp_path):
        for split in ("train", "valid-00000-of-00001", "test"):
            pq.write_table(huggingface_table([1, 0], ["a", "b"]), tmp_path / f"{split}.parquet")
        ingested = read("parquet", path=tmp_path)
        assert ingested.counts["given_splits"] == {"train": 2, "validation": 2, "test": 2}
        assert rows(ingested, "image_id")[2] == ("validation/000000",)

    def test_one_file_has_no_given_split(self, tmp_path):
        path = tmp_path / "all.parquet"
        pq.write_table(huggingface_table([1, 0], ["frog", "ant"]), path)
        ingested = read("parquet", path=path)
        assert rows(ingested, "image_id")[1] == ("all/000001",)
        assert ingested.counts["given_splits"] == {"none": 2}

    @pytest.mark.parametrize(
        ("labels", "classes"),
        [
            (pa.array(["ship", "cat", "ship"]), ("cat", "ship")),
            (pa.array(["ship", "cat", "ship"]).dictionary_encode(), ("cat", "ship")),
            (pa.array([10, 9, 10], pa.int32()), ("9", "10")),
        ],
    )
    def test_labels_without_metadata_are_named_by_themselves(self, tmp_path, labels, classes):
        path = tmp_path / "all.parquet"
        pq.write_table(huggingface_table(labels), path)
        ingested = read("parquet", path=path)
        assert ingested.images.classes == classes
        assert [label for (label,) in rows(ingested, "label")] == [
            classes[1],
            classes[0],
            classes[1],
        ]

    @pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
    def test_plain_binary_images_under_other_names(self, tmp_path, kind):
        path = tmp_path / "all.parquet"
        table = huggingface_table(["a", "b"], images=pa.array([jpeg(0), jpeg(1)], kind))
        pq.write_table(table.rename_columns(["y", "x"]), path)
        ingested = read("parquet", path=path, image_column="x", label_column="y")
        assert ingested.images.encoded(1) == jpeg(1)

    def test_rows_without_label_or_bytes_go_to_quarantine(self, tmp_path):
        path = tmp_path / "all.parquet"
        images = [{"bytes": jpeg(k), "path": None} for k in range(5)]
        images[4] = {"bytes": None, "path": "/etc/hostname"}
        pq.write_table(huggingface_table([0, 1, -1, None, 1], ["frog", "ant"], images), path)
        ingested = read("parquet", max_bad_fraction=0.6, path=path)
        assert ingested.quarantine.to_dict("list") == {
            "file": ["all/000002", "all/000003", "all/000004"],
            "reason": ["label -1 is not a class", "label None is not a class", "no image bytes"],
        }

    def test_files_that_name_different_classes_are_refused(self, tmp_path):
        pq.write_table(huggingface_table([0, 1], ["frog", "ant"]), tmp_path / "train.parquet")
        pq.write_table(huggingface_table([0, 1], ["ant", "frog"]), tmp_path / "test.parquet")
        with pytest.raises(SourceError, match="different classes"):
            read("parquet", path=tmp_path)

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"img": [b""], "label": [0]}, r"no column image, only img, label.*image_column"),
            ({"image": [1.5], "label": [0]}, "image holds double"),
            ({"image": [b""], "label": [0.5]}, "label holds double"),
        ],
    )
    def test_another_layout_is_refused(self, tmp_path, columns, message):
        path = tmp_path / "all.parquet"
        pq.write_table(pa.table(columns), path)
        with pytest.raises(SourceError, match=message):
            read("parquet", path=path)

    def test_missing_and_damaged_files_are_named(self, tmp_path):
        with pytest.raises(SourceError, match="nowhere does not exist"):
            read("parquet", path=tmp_path / "nowhere")
        with pytest.raises(SourceError, match=r"no train\.parquet"):
            read("parquet", path=tmp_path)
        (tmp_path / "train.parquet").write_bytes(b"PAR1 and nothing more")
        with pytest.raises(SourceError, match=r"train\.parquet cannot be read as parquet"):
            read("parquet", path=tmp_path)

    def test_cifar10_jpeg_reads_whole(self, cifar10_jpeg):
        ingested = read("parquet", path=cifar10_jpeg / "test.parquet")
        assert ingested.images.classes == CLASSES
        assert ingested.counts["classes"] == dict.fromkeys(CLASSES, 1000)
        assert ingested.quarantine.empty


def write_images(root: Path, *names: str) -> None:
    for k, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(k))


class TestImageFolder:
    def test_class_folders(self, tmp_path):
        write_images(
            tmp_path,
            "b/2.jpg",
            "b/1.jpg",
            "a/deep/er/x.jpg",
            "a/.hidden",
            "a/Thumbs.db",
            "desktop.ini",
            "__MACOSX/a/._x.jpg",
        )
        ingested = read("image_folder", path=tmp_path)
        assert ingested.images.classes == ("a", "b")
        assert rows(ingested, "image_id", "label") == [
            ("a/deep/er/x.jpg", "a"),
            ("b/1.jpg", "b"),
            ("b/2.jpg", "b"),
        ]
        assert ingested.counts["given_splits"] == {"none": 3}

    def test_train_and_test_folders(self, tmp_path):
        write_images(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "test/a/1.jpg")
        assert sorted(
            rows(read("image_folder", path=tmp_path), "image_id", "label", "given_split")
        ) == [
            ("test/a/1.jpg", "a", "test"),
            ("train/a/1.jpg", "a", "train"),
            ("train/b/1.jpg", "b", "train"),
        ]

    @pytest.mark.parametrize(
        ("folder", "split"),
        [
            ("training", "train"),
            ("validation", "validation"),
            ("valid", "validation"),
            ("val", "validation"),
            ("Val", "validation"),
            ("dev", "validation"),
            ("Testing", "test"),
        ],
    )
    def test_usual_names_of_split_folders(self, tmp_path, folder, split):
        write_images(tmp_path, "train/a/1.jpg", "train/b/1.jpg", f"{folder}/a/2.jpg")
        given = dict(rows(read("image_folder", path=tmp_path), "image_id", "given_split"))
        assert given == {
            "train/a/1.jpg": "train",
            "train/b/1.jpg": "train",
            f"{folder}/a/2.jpg": split,
        }

    def test_a_class_may_be_called_train(self, tmp_path):
        write_images(tmp_path, "train/1.jpg", "plane/1.jpg")
        assert read("image_folder", path=tmp_path).images.classes == ("plane", "train")

    def test_other_folders_beside_train_are_refused(self, tmp_path):
        write_images(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "other/a/1.jpg")
        with pytest.raises(SourceError, match="train beside other"):
            read("image_folder", path=tmp_path)

    @pytest.mark.parametrize(
        "name",
        [
            "größe ✓ 猫.jpg",
            "two\nlines.jpg",
            "n" * 251 + ".jpg",
            "'quoted', \"twice\".jpg",
            "<b>.jpg",
        ],
    )
    def test_odd_names_survive(self, tmp_path, name):
        write_images(tmp_path, f"a/{name}", "b/1.jpg")
        assert rows(read("image_folder", path=tmp_path), "image_id")[0] == (f"a/{name}",)

    def test_what_is_no_plain_image_file_of_a_class_goes_to_quarantine(self, tmp_path):
        root = tmp_path / "root"
        write_images(root, "a/1.jpg", "b/1.jpg", "stray.jpg")
        write_images(tmp_path, "secret/outside.jpg")
        (root / "a" / "inside.jpg").symlink_to(root / "b" / "1.jpg")
        (root / "a" / "outside.jpg").symlink_to(tmp_path / "secret" / "outside.jpg")
        (root / "a" / "folder").symlink_to(tmp_path / "secret")
        (root / "a" / "broken.jpg").symlink_to(root / "nowhere.jpg")
        os.mkfifo(root / "b" / "pipe.jpg")
        Path(os.fsdecode(os.fsencode(root / "b") + b"/caf\xe9.jpg")).write_bytes(jpeg(0))
        ingested = read("image_folder", max_bad_fraction=1.0, path=root)
        assert [name for (name,) in rows(ingested, "image_id")] == [
            "a/1.jpg",
            "a/inside.jpg",
            "b/1.jpg",
        ]
        reasons = dict(zip(ingested.quarantine["file"], ingested.quarantine["reason"], strict=True))
        assert reasons == {
            "a/broken.jpg": "cannot be read: No such file or directory",
            "a/folder": "symbolic link to a folder or out of the root is not followed",
            "a/outside.jpg": "symbolic link to a folder or out of the root is not followed",
            "b/caf\\xe9.jpg": "its name is not UTF-8",
            "b/pipe.jpg": "not a regular file or readable folder",
            "stray.jpg": "not in a class folder",
        }

    def test_a_folder_that_cannot_be_read_goes_to_quarantine(self, tmp_path, monkeypatch):
        write_images(tmp_path, "a/1.jpg", "b/1.jpg", "b/locked/1.jpg")
        scandir = os.scandir

        def refuse_locked(folder):
            if Path(folder).name == "locked":
                raise PermissionError(13, "Permission denied")
            return scandir(folder)

        monkeypatch.setattr(os, "scandir", refuse_locked)
        quarantine = read("image_folder", max_bad_fraction=0.5, path=tmp_path).quarantine
        assert quarantine["file"].tolist() == ["b/locked"]

    def test_missing_root_and_missing_class_folders_are_named(self, tmp_path):
        with pytest.raises(SourceError, match="nowhere is not a folder"):
            read("image_folder", path=tmp_path / "nowhere")
        with pytest.raises(SourceError, match="no folder per class"):
            read("image_folder", path=tmp_path)


class TestHub:
    @pytest.fixture(autouse=True)
    def cache(self, tmp_path, monkeypatch):
        import datasets

        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        datasets.disable_progress_bars()

    @pytest.fixture
    def folder(self, tmp_path) -> Path:
        folder = tmp_path / "data set"
        folder.mkdir()
        pq.write_table(huggingface_table([1, 0, 1], ["frog", "ant"]), folder / "train.parquet")
        pq.write_table(huggingface_table([0], ["frog", "ant"]), folder / "test.parquet")
        return folder

    def test_a_folder_of_the_hub_format(self, folder):
        ingested = read("hub", id=str(folder))
        assert ingested.images.classes == ("frog", "ant")
        assert rows(ingested, "image_id", "label", "given_split") == [
            ("train/000000", "ant", "train"),
            ("train/000001", "frog", "train"),
            ("train/000002", "ant", "train"),
            ("test/000000", "frog", "test"),
        ]
        assert ingested.images.encoded(2) == jpeg(2)

    def test_attributes_are_kept_and_splits_that_are_not_read_are_named(self, folder, caplog):
        table = huggingface_table([1, 0], ["frog", "ant"]).append_column("sky", [["a", "b"]])
        for split in ("train", "validation", "test"):
            pq.write_table(table, folder / f"{split}.parquet")
        ingested = read("hub", id=str(folder), attribute_columns=["sky"], validation_split=None)
        assert rows(ingested, "attribute/sky") == [("a",), ("b",), ("a",), ("b",)]
        assert "validation" in caplog.text

    @pytest.mark.parametrize("name", ["validation", "val"])
    def test_a_validation_split_is_read(self, folder, name):
        table = huggingface_table([1, 0], ["frog", "ant"])
        pq.write_table(table, folder / f"{name}.parquet")
        given = {"train": 3, "validation": 2, "test": 1}
        assert read("hub", id=str(folder)).counts["given_splits"] == given

    def test_a_split_is_never_read_twice(self, folder):
        (folder / "test.parquet").rename(folder / "validation.parquet")
        ingested = read("hub", id=str(folder), test_split="validation")
        assert ingested.counts["given_splits"] == {"train": 3, "test": 1}
        with pytest.raises(SourceError, match="Name each split of the data set once"):
            read("hub", id=str(folder), test_split="validation", validation_split="validation")

    def test_images_given_by_path_are_read(self, tmp_path):
        folder = tmp_path / "pictures"
        write_images(folder, "train/a/1.jpg", "train/b/2.jpg")
        ingested = read("hub", id=str(folder), test_split=None)
        assert ingested.images.encoded(1) == jpeg(1)
        assert rows(ingested, "label") == [("a",), ("b",)]

    def test_an_absent_split_is_named_with_those_there_are(self, folder):
        with pytest.raises(SourceError, match="no split holdout, only train, test"):
            read("hub", id=str(folder), test_split="holdout")

    def test_an_unknown_id_offline_says_what_to_do(self):
        with pytest.raises(
            SourceError, match=r"nobody/nothing \(revision v1\).*a folder.*HF_HOME.*HF_HUB_OFFLINE"
        ):
            read("hub", id="nobody/nothing", revision="v1")


class TestWhatIsCheckedOfEverySource:
    @pytest.fixture
    def give(self, monkeypatch):
        def give(*records):
            source = Source(("cat", "dog"), records)
            monkeypatch.setattr(ScenesParams, "open", lambda params, seed: source)

        return give

    def test_an_empty_source(self, give):
        give()
        with pytest.raises(SourceError, match="scenes is empty"):
            read("scenes")

    def test_one_class_only(self, give):
        give(*(plain_record(str(k), jpeg(k), "cat", None) for k in range(3)))
        with pytest.raises(SourceError, match=r"1 class only \(cat\)"):
            read("scenes")

    def test_repeated_ids(self, give):
        give(
            *(plain_record("same", jpeg(k), label, None) for k, label in enumerate(["cat", "dog"]))
        )
        with pytest.raises(SourceError, match="1 image ids occur more than once: 'same'"):
            read("scenes")

    def test_bad_files_up_to_the_share_pass_and_above_it_stop_the_run(self, give):
        good = [plain_record(str(k), jpeg(k), ("cat", "dog")[k % 2], None) for k in range(9)]
        give(*good, plain_record("bad", b"no image", "cat", None))
        ingested = read("scenes", max_bad_fraction=0.1)
        assert len(ingested.images) == 9
        assert ingested.quarantine["file"].tolist() == ["bad"]
        with pytest.raises(
            SourceError,
            match=r"1 of 10 images \(10 %\).*max_bad_fraction=0\.09 allows 9 %\..*'bad': not a readable image",
        ):
            read("scenes", max_bad_fraction=0.09)

    def test_converted_and_animated_images_are_counted(self, give, caplog):
        frames = io.BytesIO()
        images = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
        images[0].save(frames, "GIF", save_all=True, append_images=images[1:])
        give(
            plain_record("still", jpeg(0), "cat", None),
            plain_record("moving", frames.getvalue(), "dog", None),
        )
        counts = read("scenes").counts
        assert (counts["converted"], counts["animated"]) == (1, 1)
        assert "'moving'" in caplog.text

    def test_an_empty_quarantine_keeps_its_columns(self, give):
        give(plain_record("a", jpeg(0), "cat", None), plain_record("b", jpeg(1), "dog", None))
        ingested = read("scenes")
        pd.testing.assert_frame_equal(
            ingested.quarantine, pd.DataFrame(columns=["file", "reason"], dtype="str")
        )
