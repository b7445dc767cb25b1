"""The image table: what goes in comes out, memory stays flat, damage is noticed."""

import hashlib
import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from kedro.io import DatasetError
from PIL import Image

from glasshead.datasets.atomic import ImageTableDataset
from glasshead.errors import ArtifactError
from glasshead.images import table as table_module
from glasshead.images.table import ImageTable, Record

CLASSES = ("ship", "frog")


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def record(position: int, **changes) -> Record:
    mask = np.zeros((4, 6), np.uint8)
    mask[1:3, 2:5] = 255
    row = Record(
        image_id=f"train/{position:06d}",
        image=png(np.full((4, 6, 3), position % 256, np.uint8)),
        label=CLASSES[position % 2],
        given_split="train",
        mask=png(mask),
        attributes={"colour": f"colour {position}"},
        defects=[],
    )
    return row | changes


@pytest.fixture
def images() -> ImageTable:
    records = [record(0), record(1), record(2, mask=None, given_split=None, attributes={})]
    return ImageTable.from_records(records, CLASSES, ["colour"])


@pytest.fixture
def samples(images) -> pd.DataFrame:
    return images.frame().assign(
        **{"class_index": [0, 1, 0], "target/wings": [1, 0, 1], "target/legs": [2, 1, 0]}
    )


def test_rows_come_back_as_they_went_in(images):
    assert len(images) == 3
    assert images.classes == CLASSES
    assert images.encoded(1) == record(1)["image"]
    assert images.pil(1).getpixel((0, 0)) == (1, 1, 1)
    assert images.mask(0).dtype == bool
    assert images.mask(0).sum() == 6
    assert images.mask(2) is None
    frame = images.frame()
    assert frame["label"].tolist() == ["ship", "frog", "ship"]
    assert frame["content_hash"][0] == hashlib.sha256(record(0)["image"]).hexdigest()
    assert frame["attribute/colour"].tolist()[:2] == ["colour 0", "colour 1"]
    assert frame[["given_split", "attribute/colour"]].iloc[2].isna().all()
    assert not {"image", "mask"} & set(frame.columns)


def test_rows_are_written_in_batches_of_bounded_size(monkeypatch, tmp_path):
    monkeypatch.setattr(table_module, "BATCH_ROWS", 4)
    monkeypatch.setattr(table_module, "BATCH_BYTES", 25)
    sizes = [10, 10, 10, 1, 1, 1, 1, 30, 1]
    records = [record(k, image=bytes(size)) for k, size in enumerate(sizes)]
    ImageTable.from_records(records, CLASSES, ["colour"]).write(tmp_path / "images.arrow")
    reader = pa.ipc.open_file(tmp_path / "images.arrow")
    batches = map(reader.get_batch, range(reader.num_record_batches))
    assert [batch.num_rows for batch in batches] == [3, 4, 1, 1]


def test_bytes_are_mapped_not_held():
    big = np.random.default_rng(0).integers(0, 256, 2**20, dtype=np.uint8).tobytes()
    before = pa.total_allocated_bytes()
    images = ImageTable.from_records((record(k, image=big) for k in range(64)), CLASSES, ["colour"])
    assert pa.total_allocated_bytes() - before < 2**20
    assert images.encoded(63) == big


def test_an_empty_table_is_a_table():
    images = ImageTable.from_records([], CLASSES)
    assert len(images) == 0
    assert images.frame().empty


def test_the_digest_sees_ids_labels_bytes_and_order(images):
    def digest(*records) -> str:
        return ImageTable.from_records(records, CLASSES, ["colour"]).digest()

    same = digest(record(0), record(1))
    assert same == digest(record(0), record(1, attributes={}))
    others = {
        digest(record(1), record(0)),
        digest(record(0), record(1, label="ship")),
        digest(record(0), record(1, image_id="else")),
        digest(record(0), record(1, image=record(7)["image"])),
    }
    assert len(others - {same}) == 4


def test_repeated_ids_are_found():
    images = ImageTable.from_records([record(0), record(1), record(0)], CLASSES, ["colour"])
    assert images.repeated_ids() == ["train/000000"]


def test_samples_of_other_images_are_refused(images, samples):
    images.check_rows(samples)
    with pytest.raises(ArtifactError, match="preprocess"):
        images.check_rows(samples.iloc[::-1])


class TestImageTableDataset:
    def test_round_trip(self, images, tmp_path):
        dataset = ImageTableDataset(filepath=str(tmp_path / "new" / "images.arrow"))
        assert not dataset.exists()
        dataset.save(images)
        assert dataset.exists()
        loaded = dataset.load()
        pd.testing.assert_frame_equal(loaded.frame(), images.frame())
        assert loaded.classes == CLASSES
        assert [loaded.encoded(row) for row in range(3)] == [
            images.encoded(row) for row in range(3)
        ]
        assert loaded.digest() == images.digest()

    def test_same_table_same_bytes(self, images, tmp_path):
        paths = [tmp_path / "a.arrow", tmp_path / "b.arrow"]
        for path in paths:
            ImageTableDataset(filepath=str(path)).save(images)
        assert paths[0].read_bytes() == paths[1].read_bytes()

    def test_a_table_may_replace_the_file_it_is_mapped_from(self, images, tmp_path):
        dataset = ImageTableDataset(filepath=str(tmp_path / "images.arrow"))
        dataset.save(images)
        mapped = dataset.load()
        dataset.save(mapped)
        assert mapped.digest() == dataset.load().digest()
        assert [path.name for path in tmp_path.iterdir()] == ["images.arrow"]

    def test_preview_has_no_bytes(self, images, tmp_path):
        dataset = ImageTableDataset(filepath=str(tmp_path / "images.arrow"))
        dataset.save(images)
        preview = dataset.preview(2)
        assert preview["columns"] == images.frame().columns.tolist()
        assert len(preview["data"]) == 2

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(DatasetError, match=r"nowhere\.arrow.*ingest") as error:
            ImageTableDataset(filepath=str(tmp_path / "nowhere.arrow")).load()
        assert isinstance(error.value.__cause__, ArtifactError)

    @pytest.mark.parametrize("keep", [0, 0.1, 0.5, 0.99])
    def test_a_cut_file_is_refused(self, images, tmp_path, keep):
        path = tmp_path / "images.arrow"
        images.write(path)
        data = path.read_bytes()
        path.write_bytes(data[: int(keep * len(data))])
        with pytest.raises(DatasetError, match="not a complete image table") as error:
            ImageTableDataset(filepath=str(path)).load()
        assert isinstance(error.value.__cause__, ArtifactError)

    def test_a_foreign_arrow_file_is_refused(self, tmp_path):
        path = tmp_path / "images.arrow"
        foreign = pa.table({"image_id": ["a"], "image": [b""]})
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, foreign.schema) as writer:
            writer.write_table(foreign)
        with pytest.raises(DatasetError, match="label, given_split, content_hash, mask"):
            ImageTableDataset(filepath=str(path)).load()

    def test_a_flipped_image_byte_is_noticed_when_read(self, images, tmp_path):
        path = tmp_path / "images.arrow"
        images.write(path)
        data, image = bytearray(path.read_bytes()), images.encoded(1)
        data[data.index(image) + 40] ^= 1
        path.write_bytes(data)
        damaged = ImageTableDataset(filepath=str(path)).load()
        assert damaged.encoded(0) == images.encoded(0)
        with pytest.raises(ArtifactError, match="train/000001"):
            damaged.encoded(1)
