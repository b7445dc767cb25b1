"""Bad image files (rows 4 and 6 to 11): put aside with a reason, in flat memory, without touching the folder."""

import io
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image

from glasshead.errors import SourceError
from glasshead.images.sources.params import IngestParams
from glasshead.images.sources.read import Ingested, read_source


def encoded(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").resize((40, 30)).save(buffer, form)
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG of 20,000 x 20,000 one-bit pixels, all black, in 50 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(20_000 * 2501), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


@pytest.fixture
def root(tmp_path) -> Path:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "good.jpg").write_bytes(encoded("JPEG"))
    return tmp_path


def ingest(root: Path, max_bad_fraction: float = 0.5) -> Ingested:
    params = {
        "source": "image_folder",
        "max_bad_fraction": max_bad_fraction,
        "image_folder": {"path": root},
    }
    return read_source(IngestParams.model_validate(params), seed=0)


def reason_of(root: Path, data: bytes) -> str:
    """Return why an image of these bytes is put aside, having checked that the others go on."""
    (root / "cat" / "bad.jpg").write_bytes(data)
    ingested = ingest(root)
    assert ingested.images.frame()["image_id"].tolist() == ["cat/good.jpg", "dog/good.jpg"]
    assert ingested.quarantine["file"].tolist() == ["cat/bad.jpg"]
    return ingested.quarantine["reason"][0]


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_truncated_image_is_put_aside(root, form, fraction):
    data = encoded(form)
    assert "cannot be decoded" in reason_of(root, data[: int(fraction * len(data))])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "not a readable image"),
    ],
)
def test_an_empty_file_and_a_web_page_are_put_aside(root, data, reason):
    assert reason in reason_of(root, data)


@pytest.mark.parametrize(
    "data",
    [
        b"8BPS\x00\x01" + bytes(6) + struct.pack(">HIIHH", 3, 8, 8, 8, 3) + bytes(400),  # PSD
        b"SIMPLE  =                    T".ljust(2880) + bytes(2880),  # FITS
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>',
        encoded("ICO"),
        encoded("TGA"),
        encoded("JPEG2000"),
    ],
)
def test_formats_that_are_not_allowed_are_put_aside(root, data):
    assert "not a readable image of an allowed format (JPEG, PNG, BMP" in reason_of(root, data)


def test_too_many_bad_files_stop_the_run(root):
    (root / "cat" / "bad.jpg").write_bytes(b"")
    with pytest.raises(
        SourceError, match=r"1 of 3 images \(33\.3 %\) are unusable.*'cat/bad.jpg': empty file"
    ):
        ingest(root, max_bad_fraction=0.3)


def test_a_decompression_bomb_is_refused_from_its_header(root):
    assert "too large" in reason_of(root, bomb())


def test_a_decompression_bomb_takes_no_memory(tmp_path):
    (tmp_path / "bomb.png").write_bytes(bomb())
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from glasshead.errors import ImageError\n"
        "from glasshead.images.decode import decode_rgb\n"
        "data = Path(sys.argv[1]).read_bytes()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n"
        "    decode_rgb(data)\n"
        "except ImageError:\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "bomb.png")]
    grown = int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    unit = 1 if sys.platform == "darwin" else 1024
    assert grown * unit < 20e6  # decoded, it would be 50 MB as bits and 1.2 GB as RGB


def test_an_animation_is_kept_and_flagged(root, caplog):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for form in ("GIF", "WEBP"):
        frames[0].save(
            root / "dog" / f"moving.{form.lower()}", form, save_all=True, append_images=frames[1:]
        )
    ingested = ingest(root, max_bad_fraction=0.0)
    assert ingested.counts["animated"] == 2
    assert "'dog/moving.gif', 'dog/moving.webp'" in caplog.text
    rows = ingested.images.frame()["image_id"].str.contains("moving")
    for row in rows[rows].index:
        assert ingested.images.pil(row).getpixel((4, 4))[0] > 240


def test_nothing_is_written_beside_the_sources(root, open_folder, as_ordinary_user):
    (root / "cat" / "bad.jpg").write_bytes(b"")
    ingest(root)  # loads what an ordinary user may be unable to read
    sources = Path(shutil.copytree(root, open_folder / "sources"))
    folders = [sources, sources / "cat", sources / "dog"]
    for folder in folders:
        folder.chmod(0o555)
    before = {path: path.lstat() for path in sources.rglob("*")}
    with as_ordinary_user():
        with pytest.raises(PermissionError):
            (sources / "cat" / "new.jpg").touch()
        ingested = ingest(sources)
    for folder in folders:
        folder.chmod(0o755)
    assert len(ingested.images) == 2
    after = {path: path.lstat() for path in sources.rglob("*")}
    assert {path: (s.st_mtime_ns, s.st_size) for path, s in before.items()} == {
        path: (s.st_mtime_ns, s.st_size) for path, s in after.items()
    }
