"""Round trips, reproducible bytes, refusals and damage of the atomic datasets."""

import inspect
import io
import json
import math
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from kedro.io import DatasetError
from matplotlib.figure import Figure
from PIL import Image

from glasshead.datasets.atomic import (
    AtomicArrays,
    AtomicBytes,
    AtomicFigure,
    AtomicJSON,
    AtomicTable,
    AtomicText,
)
from glasshead.errors import ArtifactError

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
ARRAYS = st.dictionaries(
    st.text("abc/._", min_size=1, max_size=8),
    npst.arrays(
        npst.boolean_dtypes() | npst.integer_dtypes() | npst.floating_dtypes(),
        npst.array_shapes(min_side=0),
    ),
    max_size=3,
)


def figure(height: float = 1.0) -> Figure:
    drawn = Figure((1, 1))
    drawn.subplots().bar(["a", "b"], [1, height])
    return drawn


TABLE = pd.DataFrame(
    {"image_id": ["train/0", "NA"], "label": ["cat", None], "confidence": [0.1 + 0.2, np.nan]}
)
EXAMPLES = {
    "value.json": (AtomicJSON, lambda: {"b": [1, None, "é"], "a": 0.1}),
    "table.csv": (AtomicTable, lambda: TABLE),
    "table.parquet": (AtomicTable, lambda: TABLE),
    "figure.png": (AtomicFigure, figure),
    "arrays.npz": (
        AtomicArrays,
        lambda: {"x": np.arange(64.0).reshape(8, 8), "a/b": np.array(["é"])},
    ),
    "card.md": (AtomicText, lambda: "# é\n"),
    "model.onnx": (AtomicBytes, lambda: b"\x00\xff\r\n"),
}
every_kind = pytest.mark.parametrize("name", EXAMPLES)


def cause_of(error: pytest.ExceptionInfo[DatasetError]) -> BaseException | None:
    """Kedro wraps what a dataset raises."""
    return error.value.__cause__


@given(JSON)
def test_json_comes_back_as_it_was(value):
    with tempfile.TemporaryDirectory() as folder:
        dataset = AtomicJSON(filepath=f"{folder}/value.json")
        if value is None:
            value = [None]  # Kedro refuses to save None
        dataset.save(value)
        assert dataset.load() == value


def test_json_turns_numpy_scalars_into_numbers_and_sorts_keys(tmp_path):
    dataset = AtomicJSON(filepath=str(tmp_path / "value.json"))
    dataset.save({"b": np.int64(2), "a": np.float32(0.5)})
    assert (tmp_path / "value.json").read_text() == '{\n  "a": 0.5,\n  "b": 2\n}\n'


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, np.float64("nan"), np.float32("inf"), {1, 2}, Path("x")]
)
def test_json_refuses_what_json_does_not_have(tmp_path, value):
    dataset = AtomicJSON(filepath=str(tmp_path / "value.json"))
    with pytest.raises(DatasetError) as error:
        dataset.save({"metric": value})
    assert isinstance(cause_of(error), ArtifactError)
    assert list(tmp_path.iterdir()) == []


def test_json_with_nan_inside_is_damaged(tmp_path):
    (tmp_path / "value.json").write_text('{"accuracy": NaN}')
    with pytest.raises(DatasetError, match="NaN is not JSON"):
        AtomicJSON(filepath=str(tmp_path / "value.json")).load()


@given(ARRAYS)
def test_arrays_come_back_with_their_types_and_shapes(arrays):
    with tempfile.TemporaryDirectory() as folder:
        dataset = AtomicArrays(filepath=f"{folder}/arrays.npz")
        dataset.save(arrays)
        loaded = dataset.load()
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)


def test_arrays_are_a_plain_npz(tmp_path):
    AtomicArrays(filepath=str(tmp_path / "arrays.npz")).save({"x": np.arange(3)})
    with np.load(tmp_path / "arrays.npz") as archive:
        np.testing.assert_array_equal(archive["x"], [0, 1, 2])


def test_pickles_are_neither_written_nor_opened(tmp_path):
    marker = tmp_path / "executed"

    class Payload:
        def __reduce__(self):
            return Path.touch, (marker,)

    dataset = AtomicArrays(filepath=str(tmp_path / "arrays.npz"))
    objects = np.array([Payload()], dtype=object)
    with pytest.raises(DatasetError) as error:
        dataset.save({"x": objects})
    assert isinstance(cause_of(error), ArtifactError)
    np.savez(tmp_path / "arrays.npz", x=objects)
    with pytest.raises(DatasetError) as error:
        dataset.load()
    assert isinstance(cause_of(error), ArtifactError)
    (tmp_path / "arrays.npz").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(DatasetError) as error:
        dataset.load()
    assert isinstance(cause_of(error), ArtifactError)
    assert not marker.exists()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_table_comes_back_without_its_index(tmp_path, suffix):
    dataset = AtomicTable(filepath=str(tmp_path / f"table.{suffix}"))
    dataset.save(TABLE.set_index(pd.Index([7, 3])))
    pd.testing.assert_frame_equal(dataset.load(), TABLE)


@given(st.lists(TEXT, min_size=1, max_size=3))
def test_any_file_name_survives_a_csv(names):
    frame = pd.DataFrame({"file": [f"x{name}" for name in names], "reason": "truncated"})
    with tempfile.TemporaryDirectory() as folder:
        dataset = AtomicTable(filepath=f"{folder}/quarantine.csv")
        dataset.save(frame)
        assert dataset.load()["file"].tolist() == frame["file"].tolist()


def test_a_text_column_of_a_csv_stays_text(tmp_path):
    dataset = AtomicTable(filepath=str(tmp_path / "recall.csv"), text=["class"])
    dataset.save(pd.DataFrame({"class": ["01", "2", "NA", "1e3"], "n": [1, 2, 3, 4]}))
    loaded = dataset.load()
    assert loaded["class"].tolist() == ["01", "2", "NA", "1e3"]
    assert loaded["n"].tolist() == [1, 2, 3, 4]


@given(npst.arrays(float, 5, elements={"allow_nan": False}))
def test_numbers_survive_a_csv_to_the_last_bit(numbers):
    with tempfile.TemporaryDirectory() as folder:
        dataset = AtomicTable(filepath=f"{folder}/audit_log.csv")
        dataset.save(pd.DataFrame({"loss": numbers}))
        np.testing.assert_array_equal(dataset.load()["loss"].to_numpy(float), numbers)


def test_an_empty_table_keeps_its_columns(tmp_path):
    for name in ("table.csv", "table.parquet"):
        dataset = AtomicTable(filepath=str(tmp_path / name))
        dataset.save(TABLE.iloc[:0])
        assert list(dataset.load().columns) == list(TABLE.columns)
        assert len(dataset.load()) == 0


def test_a_table_has_a_known_suffix(tmp_path):
    with pytest.raises(ArtifactError, match=r"not table\.xlsx"):
        AtomicTable(filepath=str(tmp_path / "table.xlsx"))


def test_figure_loads_as_png_of_the_asked_resolution_and_is_closed(tmp_path):
    from matplotlib import pyplot

    dataset = AtomicFigure(filepath=str(tmp_path / "figure.png"), dpi=70)
    drawn = pyplot.figure(figsize=(2, 1))
    dataset.save(drawn)
    assert Image.open(io.BytesIO(dataset.load())).size == (140, 70)
    assert not pyplot.fignum_exists(drawn.number)


@given(TEXT)
def test_text_comes_back_with_its_line_ends(text):
    with tempfile.TemporaryDirectory() as folder:
        dataset = AtomicText(filepath=f"{folder}/card.md")
        dataset.save(text)
        assert dataset.load() == text
        assert Path(folder, "card.md").read_bytes() == text.encode()


def test_text_that_is_not_utf_8_is_damaged(tmp_path):
    dataset = AtomicText(filepath=str(tmp_path / "card.md"))
    (tmp_path / "card.md").write_bytes("é".encode()[:1])
    with pytest.raises(DatasetError, match="is damaged") as error:
        dataset.load()
    assert isinstance(cause_of(error), ArtifactError)


def test_bytes_come_back_as_they_were(tmp_path):
    dataset = AtomicBytes(filepath=str(tmp_path / "model.onnx"))
    dataset.save(bytes(range(256)))
    assert dataset.load() == (tmp_path / "model.onnx").read_bytes() == bytes(range(256))


@every_kind
def test_the_same_content_gives_the_same_bytes(tmp_path, name):
    kind, content = EXAMPLES[name]
    for folder in ("first", "second"):
        kind(filepath=str(tmp_path / folder / name)).save(content())
    assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


@every_kind
def test_a_missing_file_says_what_to_run(tmp_path, name):
    dataset = EXAMPLES[name][0](filepath=str(tmp_path / name))
    assert not dataset.exists()
    with pytest.raises(DatasetError, match="does not exist") as error:
        dataset.load()
    assert isinstance(cause_of(error), ArtifactError)


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - {"table.csv", "card.md", "model.onnx"}))
def test_a_truncated_file_is_damaged(tmp_path, name):
    kind, content = EXAMPLES[name]
    dataset = kind(filepath=str(tmp_path / name))
    dataset.save(content())
    whole = (tmp_path / name).read_bytes()
    for fraction in (0, 0.5, 0.9):
        (tmp_path / name).write_bytes(whole[: int(len(whole) * fraction)])
        with pytest.raises(DatasetError, match="is damaged") as error:
            dataset.load()
        assert isinstance(cause_of(error), ArtifactError)


def test_a_flipped_byte_of_array_data_is_damage(tmp_path):
    dataset = AtomicArrays(filepath=str(tmp_path / "arrays.npz"))
    dataset.save({"x": np.zeros(100, np.uint8)})
    data = bytearray((tmp_path / "arrays.npz").read_bytes())
    data[data.index(bytes(100)) + 50] = 1
    (tmp_path / "arrays.npz").write_bytes(data)
    with pytest.raises(DatasetError, match="CRC"):
        dataset.load()


@every_kind
def test_datasets_describe_themselves_and_take_metadata(tmp_path, name):
    dataset = EXAMPLES[name][0](
        filepath=str(tmp_path / name), metadata={"kedro-viz": {"layer": "reporting"}}
    )
    assert str(tmp_path / name) in str(dataset)
    assert dataset.metadata == {"kedro-viz": {"layer": "reporting"}}


@pytest.mark.parametrize(
    ("name", "preview"),
    [("value.json", "JSONPreview"), ("table.csv", "TablePreview"), ("figure.png", "ImagePreview")],
)
def test_kedro_viz_finds_a_preview_it_can_send(tmp_path, name, preview):
    kind, content = EXAMPLES[name]
    dataset = kind(filepath=str(tmp_path / name))
    dataset.save(content())
    assert inspect.signature(dataset.preview).return_annotation.__name__ == preview
    assert json.dumps(dataset.preview(), allow_nan=False)
