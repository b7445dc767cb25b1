"""Attributes from a CSV and masks from a folder, for image folders."""

import io

import numpy as np
import pytest
from PIL import Image

from glasshead.errors import SourceError
from glasshead.images.sources.params import IngestParams
from glasshead.images.sources.read import read_source

SIZE = (6, 4)  # width, height


def encoded(mode: str, values: np.ndarray | None = None, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image = Image.new(mode, SIZE) if values is None else Image.fromarray(values, mode)
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "photos"
    for number, name in enumerate(("train/a/1.jpg", "train/b/2.jpg", "test/a/3.x.jpg")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((SIZE[1], SIZE[0], 3), 40 * number, np.uint8)
        (folder / name).write_bytes(encoded("RGB", pixels, "JPEG"))
    return folder


def read(root, **options):
    block = {"path": root} | options
    return read_source(
        IngestParams(source="image_folder", max_bad_fraction=1.0, image_folder=block), seed=0
    )


def test_attributes_follow_their_file(root, tmp_path, caplog):
    table = tmp_path / "metadata.csv"
    table.write_text(
        "\ufeffcamera,file_name,place\r\n"
        'old,test/a/3.x.jpg,"wood, by night"\r\n'
        ",train/a/1.jpg,room\r\n"
        "new,train/c/9.jpg,room\r\n",
        encoding="utf-8",
    )
    frame = read(root, attributes=table).images.frame().set_index("image_id")
    assert frame.loc["test/a/3.x.jpg", "attribute/place"] == "wood, by night"
    assert frame["attribute/camera"].fillna("?").to_dict() == {
        "test/a/3.x.jpg": "old",
        "train/a/1.jpg": "?",
        "train/b/2.jpg": "?",
    }
    assert "1 rows of attributes name no image: 'train/c/9.jpg'" in caplog.text
    assert "1 images have no row of attributes" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has the columns none"),
        ("name,camera\na,b\n", "It needs file_name"),
        ("file_name,x,x\n", "distinct names"),
        ("file_name,\na,b\n", "distinct names"),
        ("file_name,x\na,b,c\n", "row 2: 3 fields"),
        ("file_name,x\na,b\na,c\n", "row 3: 'a' has a row already"),
        ("file_name,x\nphotos/train/a/1.jpg,b\n", "none of its rows names an image"),
    ],
)
def test_attributes_that_cannot_be_used_are_refused(root, tmp_path, text, message):
    table = tmp_path / "metadata.csv"
    table.write_text(text)
    with pytest.raises(SourceError, match=message):
        read(root, attributes=table)


@pytest.mark.parametrize("content", [None, b"file_name,x\n\xff,1\n", b'file_name,x\n"a,1\n'])
def test_a_file_that_is_no_csv_is_refused(root, tmp_path, content):
    table = tmp_path / "metadata.csv"
    if content is not None:
        table.write_bytes(content)
    with pytest.raises(SourceError, match="cannot be read as CSV"):
        read(root, attributes=table)


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P", "RGB", "RGBA", "I;16"])
def test_masks_of_any_mode_mark_what_is_not_black(root, tmp_path, mode, caplog):
    inside = np.zeros(SIZE[::-1], bool)
    inside[1:3, 2:5] = True
    if mode == "1":
        image = Image.fromarray(inside)
    elif mode == "I;16":
        image = Image.fromarray(inside.astype(np.uint16) * 300)
    elif mode == "P":
        image = Image.fromarray(inside.astype(np.uint8), "P")
        image.putpalette([9, 9, 9, 200, 0, 0])
    else:
        image = Image.fromarray(inside.astype(np.uint8) * 7).convert(mode)
    target = tmp_path / "masks" / "test" / "a" / "3.x.png"
    target.parent.mkdir(parents=True)
    image.save(target)
    images = read(root, masks=tmp_path / "masks").images
    rows = images.ids().tolist()
    assert np.array_equal(images.mask(rows.index("test/a/3.x.jpg")), inside)
    assert images.mask(rows.index("train/a/1.jpg")) is None
    assert "2 images have no mask" in caplog.text


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (encoded("L", np.zeros((4, 7), np.uint8)), "its mask has 7 x 4 pixels, the image 6 x 4"),
        (encoded("L")[:40], "its mask cannot be read"),
        (b"", "its mask cannot be read"),
    ],
)
def test_an_image_with_an_unusable_mask_goes_to_quarantine(root, tmp_path, mask, reason):
    target = tmp_path / "masks" / "train" / "a" / "1.png"
    target.parent.mkdir(parents=True)
    target.write_bytes(mask)
    quarantine = read(root, masks=tmp_path / "masks").quarantine
    assert quarantine["file"].tolist() == ["train/a/1.jpg"]
    assert quarantine["reason"][0].startswith(reason)


def test_a_missing_folder_of_masks_is_named(root, tmp_path):
    with pytest.raises(SourceError, match=r"image_folder.masks: .*nowhere is not a folder"):
        read(root, masks=tmp_path / "nowhere")
