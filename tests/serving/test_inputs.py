"""Which files an argument names, and why one of them cannot be used."""

import os
from pathlib import Path

import pytest
from PIL import Image

from glasshead.errors import ImageError
from glasshead.images.decode import decode_rgb
from glasshead.serving.inputs import find_files, name_of, read_image


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "b/2.png",
        "b/10.png",
        "a/x.jpg",
        "a/.hidden",
        "a/Thumbs.db",
        ".git/y.png",
        "[1].png",
        "c.txt",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("argument", "found"),
    [
        ("c.txt", ["c.txt"]),
        ("a", ["a/x.jpg"]),
        (".", ["[1].png", "c.txt", "a/x.jpg", "b/10.png", "b/2.png"]),
        ("*/*.png", ["b/10.png", "b/2.png"]),
        ("a/*", ["a/x.jpg"]),
        ("**/*.*g", ["[1].png", "a/x.jpg", "b/10.png", "b/2.png"]),
        ("[ab]", ["a/x.jpg", "b/10.png", "b/2.png"]),
        ("[1].png", ["[1].png"]),  # a name that is there is no glob
        ("nothing-*.png", ["nothing-*.png"]),
        ("a" * 300, ["a" * 300]),
    ],
)
def test_files_folders_and_globs_are_found_in_name_order(tree, argument, found):
    assert list(find_files(argument)) == found


def test_links_to_folders_are_named_and_not_followed(tree):
    (tree / "a" / "loop").symlink_to(tree)
    assert list(find_files("a")) == ["a/loop", "a/x.jpg"]
    with pytest.raises(ImageError, match="a folder"):
        read_image("a/loop")


def test_an_empty_folder_is_named_itself(tree):
    (tree / "empty").mkdir()
    assert list(find_files("empty")) == ["empty"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone.png", "cannot be read: No such file"),
        ("a" * 300, "cannot be read: File name too long"),
        ("a\0b", "cannot be read: .*null"),
        ("c.txt", "empty file"),
        (".", "a folder"),
    ],
)
def test_what_cannot_be_read_says_why(tree, name, reason):
    with pytest.raises(ImageError, match=reason):
        read_image(name)


def test_a_pipe_is_refused_instead_of_waited_for(tree):
    os.mkfifo("pipe")
    with pytest.raises(ImageError, match="not a regular file"):
        read_image("pipe")


def test_a_strip_is_refused(tree):
    Image.new("RGB", (1, 199)).save("long.png")
    assert read_image("long.png").size == (1, 199)
    with pytest.raises(ImageError, match="too long: 1 x 200"):
        read_image(Image.new("RGB", (1, 200)))


def test_a_pillow_image_is_converted_as_its_file_is(tree):
    image = Image.new("RGBA", (2, 2), (255, 0, 0, 100))
    image.save("half.png")
    data = Path("half.png").read_bytes()
    expected = decode_rgb(data).tobytes()
    with Image.open("half.png") as lazy:
        found = [read_image(given) for given in (image, lazy, data, Path("half.png"))]
    assert [each.tobytes() for each in found] == [expected] * 4


def test_a_pillow_image_of_a_damaged_file_is_refused(tree):
    Image.effect_noise((64, 64), 50).save("whole.png")
    Path("cut.png").write_bytes(Path("whole.png").read_bytes()[:500])
    with Image.open("cut.png") as lazy, pytest.raises(ImageError, match="cannot be decoded"):
        read_image(lazy)


def test_names_are_shown_as_text():
    assert name_of(Path("a") / "ü.png", 3) == "a/ü.png"
    assert name_of(os.fsdecode(b"a\xff.png"), 3) == "a\\xff.png"
    assert name_of(b"bytes", 3) == "#3"
