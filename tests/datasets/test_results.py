import io
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kedro.io import DatasetError
from PIL import Image

from glasshead.datasets.results import Results, ResultsDataset
from glasshead.errors import ArtifactError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "heads" / "figures").mkdir(parents=True)
    (tmp_path / "heads" / "findings.json").write_text('[{"check": "é"}]')
    (tmp_path / "heads" / "robustness.csv").write_text("perturbation,accuracy\njpeg,0.5\n")
    sink = io.BytesIO()
    Image.new("RGB", (4, 4)).save(sink, "PNG")
    for name in ("b", "a"):
        (tmp_path / "heads" / "figures" / f"{name}.png").write_bytes(sink.getvalue())
    return tmp_path


def test_each_result_comes_back_by_its_format(folder):
    results = ResultsDataset(filepath=str(folder / "heads")).load()
    assert results.name == "heads"
    assert results.load("findings.json") == [{"check": "é"}]
    expected = pd.DataFrame({"perturbation": ["jpeg"], "accuracy": [0.5]})
    pd.testing.assert_frame_equal(results.load("robustness.csv"), expected)
    assert list(results.figures("figures")) == ["a", "b"]
    assert results.figures("figures")["a"] == results.load("figures/a.png")


def test_what_no_run_has_left_is_none(folder):
    results = ResultsDataset(filepath=str(folder)).load()
    assert results.load("risk/findings.json") is None
    assert results.figures("risk/figures") == {}
    assert ResultsDataset(filepath=str(folder / "nowhere")).load().load("metrics.json") is None


@pytest.mark.parametrize("name", ["findings.json", "figures/a.png"])
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cut=st.integers(0, 60), junk=st.binary(max_size=8))
def test_mutated_bytes_are_read_or_refused_with_our_error(folder, name, cut, junk):
    """FAULTS row 12."""
    path = folder / "heads" / name
    whole = path.read_bytes()
    path.write_bytes(whole[:cut] + junk + whole[cut + len(junk) :][: len(whole) // 2])
    try:
        found = failure_of(ResultsDataset(filepath=str(folder)).load(), f"heads/{name}")
        assert found is None or isinstance(found.__cause__, ArtifactError)
    finally:
        path.write_bytes(whole)


def failure_of(results: Results, place: str) -> DatasetError | None:
    try:
        results.load(place)
    except DatasetError as error:
        return error
    return None


def test_nothing_can_be_saved_to_it(folder):
    with pytest.raises(DatasetError, match="one by one"):
        ResultsDataset(filepath=str(folder)).save({})
