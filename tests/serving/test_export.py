"""Exports give the classifier's own calibrated probabilities, for any number of images, and name no machine."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import glasshead
from glasshead.errors import ExportError
from glasshead.models.classifier import Classifier, as_images
from glasshead.serving import export

PIXELS = np.random.default_rng(0).integers(0, 256, (70, 3, 32, 32), dtype=np.uint8)
PIXELS = (PIXELS // np.arange(1, 71, dtype=np.uint8)[:, None, None, None]).astype(np.uint8)


@pytest.fixture(scope="module")
def program(classifier: Classifier) -> torch.export.ExportedProgram:
    return export.export_graph(classifier)


@pytest.fixture(scope="module")
def archive(program: torch.export.ExportedProgram) -> bytes:
    return export.program_bytes(program)


@pytest.fixture(scope="module")
def model(program: torch.export.ExportedProgram, classifier: Classifier) -> bytes:
    return export.onnx_bytes(program, classifier, 18)


@pytest.fixture(scope="module")
def small(model: bytes) -> bytes:
    return export.quantised(model)


@pytest.fixture(scope="module")
def expected(classifier: Classifier) -> np.ndarray:
    """The probabilities at the temperature of 2, by hand."""
    with torch.no_grad():
        return (classifier(as_images(torch.from_numpy(PIXELS))) / 2.0).softmax(dim=1).numpy()


@pytest.mark.parametrize("count", [1, 2, 70])
def test_onnx_gives_calibrated_probabilities_of_any_number_of_images(model, expected, count):
    found = export.run_onnx(model)(PIXELS[:count])
    np.testing.assert_allclose(found, expected[:count], atol=1e-5)
    assert np.ptp(expected[:, 0]) > 0.1  # of images that differ


@pytest.mark.parametrize("count", [1, 70])
def test_so_does_the_program_when_it_is_read_back(archive, expected, count):
    module = torch.export.load(io.BytesIO(archive)).module()
    found = export.run_torch(module)(PIXELS[:count])
    np.testing.assert_allclose(found, expected[:count], atol=1e-5)


def test_batches_are_joined_in_order(model):
    run = export.run_onnx(model)
    np.testing.assert_allclose(export.in_batches(run, PIXELS), run(PIXELS), atol=1e-6)


def test_the_onnx_file_says_what_it_is(model, classifier):
    read = onnx.load_from_string(model)
    onnx.checker.check_model(read, full_check=True)
    assert {each.domain: each.version for each in read.opset_import}[""] == 18
    (given,), (out,) = read.graph.input, read.graph.output
    assert (given.name, out.name) == ("pixels", "probabilities")
    assert given.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    first, *sides = given.type.tensor_type.shape.dim
    assert first.dim_param
    assert [side.dim_value for side in sides] == [3, 32, 32]
    about = {each.key: each.value for each in read.metadata_props}
    assert json.loads(about["classes"]) == list(classifier.classes)
    assert json.loads(about["temperatures"])["final"] == 2


def test_no_file_names_the_machine(model, small, archive):
    with zipfile.ZipFile(io.BytesIO(archive)) as members:
        contents = [members.read(name) for name in members.namelist()]
    for data in (model, small, *contents):
        for place in (glasshead.__file__, torch.__file__):
            assert str(Path(place).parent).encode() not in data


def test_int8_multiplies_in_integers_and_stays_near(model, small, expected):
    operations = {node.op_type for node in onnx.load_from_string(small).graph.node}
    assert operations & {"MatMulInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"}
    assert len(small) < 0.5 * len(model)
    found = export.in_batches(export.run_onnx(small), PIXELS)
    assert 1e-5 < np.abs(found - expected).max() < 0.3
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


class Undecided(nn.Module):
    """Computes what depends on the values it sees, which no graph can."""

    input_size = 8

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3)) if images.sum() > 1 else images.amax((2, 3))


def test_what_no_graph_can_hold_is_an_error_of_ours():
    with pytest.raises(ExportError, match=r"cannot be exported by torch\.export"):
        export.export_graph(Undecided())
