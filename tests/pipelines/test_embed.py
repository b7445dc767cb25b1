"""The embed pipeline on a real, tiny, randomly initialised CLIP: what it saves, and what a second run costs."""

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner
from PIL import Image
from pydantic import ValidationError
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from glasshead.embedding.store import EmbeddingStore
from glasshead.errors import ArtifactError, BackboneError
from glasshead.images.captions import all_words
from glasshead.images.table import ImageTable, Record
from glasshead.models.backbone import BackboneParams
from glasshead.models.clip import ImageEncoder, load_encoder, processor_settings
from glasshead.models.nano_clip import NanoClip, NanoClipParams
from glasshead.models.text import load_text_encoder
from glasshead.pipelines.embed import nodes
from glasshead.pipelines.embed.nodes import EmbedParams
from glasshead.pipelines.embed.pipeline import create_pipeline, texts_pipeline

TAXONOMY = {
    "name": "mine",
    "subtasks": [{"name": "barks", "map": {"yes": ["dog"], "no": ["cat"]}}],
}
CONF = Path(__file__).parents[2] / "conf" / "base"


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> BackboneParams:
    folder = tmp_path_factory.mktemp("backbone")
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    torch.manual_seed(0)
    config = CLIPVisionConfig(image_size=8, patch_size=4, projection_dim=6, **sizes)
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    size = {"height": 8, "width": 8}
    CLIPImageProcessor(size={"shortest_edge": 8}, crop_size=size).save_pretrained(folder)
    return BackboneParams(name=str(folder))


@pytest.fixture
def passes(monkeypatch) -> list[int]:
    """Return the list that every forward pass of an encoder appends its batch size to."""
    counted: list[int] = []
    forward = ImageEncoder.forward

    def counting(self, images):
        counted.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(ImageEncoder, "forward", counting)
    return counted


def table(n: int) -> ImageTable:
    return ImageTable.from_records((record(row) for row in range(n)), ["cat", "dog"])


def record(row: int) -> Record:
    pixels = np.random.default_rng(row).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    return Record(
        image_id=f"train/{row}",
        image=png.getvalue(),
        label=["cat", "dog"][row % 2],
        given_split=None,
        mask=None,
        attributes={},
        defects=[],
    )


def run(
    folder: Path,
    images: ImageTable,
    samples: pd.DataFrame,
    backbone: BackboneParams,
    processor: dict[str, Any] | None = None,
    pipeline: Pipeline | None = None,
    **params: Any,
) -> DataCatalog:
    """Run the pipeline, or another, on the catalog entries of conf/base, their files moved below `folder`."""
    text = (CONF / "catalog_embed.yml").read_text()
    entries = yaml.safe_load(text.replace("${globals:embedding_store}", "data/04_feature/store"))
    for entry in entries.values():
        entry["filepath"] = str(folder / entry["filepath"])
        if "store" in entry:
            entry["store"] = {"filepath": str(folder / entry["store"]["filepath"])}
    catalog = DataCatalog.from_config(entries)
    catalog["images"], catalog["samples"] = images, samples
    catalog["processor"] = processor_settings(backbone) if processor is None else processor
    catalog["params:backbone"] = backbone
    catalog["params:embed"] = EmbedParams(batch_size=4, shard_rows=4, device="cpu", **params)
    catalog["taxonomy"] = TAXONOMY
    SequentialRunner().run(pipeline or create_pipeline(), catalog)
    return catalog


def test_embeddings_are_those_of_the_encoder_and_a_second_run_makes_no_forward_pass(
    tmp_path, backbone, passes
):
    images = table(10)
    first = run(tmp_path, images, images.frame(), backbone)
    assert sorted(passes) == [2, 4, 4]
    encoder = load_encoder(backbone)
    pixels = encoder.prepare([images.pil(row) for row in range(10)])
    with torch.inference_mode():
        direct = encoder(pixels.float() / 255).numpy()
    embeddings = first["embeddings"].load()
    np.testing.assert_allclose(embeddings.values[:], direct, atol=1e-5)
    assert embeddings.image_id.tolist() == [f"train/{row}" for row in range(10)]
    saved = (tmp_path / "data/04_feature/embeddings.parquet").read_bytes()

    passes.clear()
    second = run(tmp_path, images, images.frame(), backbone)
    assert passes == []
    assert (tmp_path / "data/04_feature/embeddings.parquet").read_bytes() == saved
    summary = second["embed_summary"].load()
    assert (summary["embed/encoded"], summary["embed/cached"]) == (0, 10)
    assert summary["embed/images_per_second"] is None


def test_the_output_is_chosen_by_parameter_and_both_are_kept(tmp_path, backbone, passes):
    images = table(5)
    run(tmp_path, images, images.frame(), backbone)
    pooled = run(tmp_path, images, images.frame(), backbone, output="pooled")["embeddings"].load()
    encoder = load_encoder(backbone, "pooled")
    assert pooled.encoder_key == encoder.key
    assert pooled.values.shape == (5, *encoder.shape) == (5, 16)
    passes.clear()
    again = run(tmp_path, images, images.frame(), backbone)["embeddings"].load()
    assert again.values.shape == (5, 6)
    assert passes == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> BackboneParams:
    """Return a backbone with a text tower and a tokenizer."""
    folder = tmp_path_factory.mktemp("whole")
    torch.manual_seed(0)
    shape = NanoClipParams(image_size=8, width=16, layers=1, text_width=16, projection=6)
    NanoClip.build(shape, all_words()).save(folder)
    return BackboneParams(name=str(folder))


class TestTexts:
    def test_there_is_a_row_a_prompt_as_the_text_encoder_gives_it(self, tmp_path, whole, caplog):
        caplog.set_level(logging.INFO)
        catalog = run(tmp_path, table(4), table(4).frame(), whole, pipeline=texts_pipeline())
        found = catalog["text_embeddings"].load()
        assert found[["kind", "subtask", "value"]].fillna("").to_numpy().tolist() == [
            ["class", "", "cat"],
            ["class", "", "dog"],
            ["value", "barks", "yes"],
            ["value", "barks", "no"],
        ]
        assert "4 prompts embedded" in caplog.text
        encoder = load_text_encoder(whole)
        assert set(found["encoder_key"]) == {encoder.key}
        assert found["prompt"][3] == "a photo of something whose barks is no"
        values = np.stack(found["embedding"])
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, encoder(list(found["prompt"])).numpy(), atol=1e-6)
        assert values.shape[1] == load_encoder(whole).dimension

    def test_a_backbone_without_text_is_refused(self, tmp_path, backbone):
        with pytest.raises(BackboneError, match="has no text tower"):
            run(tmp_path, table(4), table(4).frame(), backbone, pipeline=texts_pipeline())


def test_a_grown_table_encodes_only_the_new_rows(tmp_path, backbone, passes):
    run(tmp_path, table(6), table(6).frame(), backbone)
    passes.clear()
    catalog = run(tmp_path, table(9), table(9).frame(), backbone)
    assert sum(passes) == 3
    assert len(catalog["embeddings"].load()) == 9


def test_samples_of_other_images_stop_the_run_before_any_encoding(tmp_path, backbone, passes):
    with pytest.raises(ArtifactError, match="--pipelines=preprocess`"):
        run(tmp_path, table(6), table(5).frame(), backbone)
    assert passes == []


@pytest.mark.parametrize("column", ["content_hash", "label"])
def test_samples_with_the_same_ids_but_other_images_stop_it_too(tmp_path, backbone, column):
    samples = table(6).frame()
    samples[column] = samples[column].to_numpy()[::-1]
    with pytest.raises(ArtifactError, match="--pipelines=preprocess`"):
        run(tmp_path, table(6), samples, backbone)


def test_the_processor_of_another_backbone_stops_it_too(tmp_path, backbone, passes):
    other = processor_settings(backbone) | {"mean": [0.5, 0.5, 0.5]}
    with pytest.raises(ArtifactError, match="Preprocess resolved the image processor"):
        run(tmp_path, table(6), table(6).frame(), backbone, other)
    assert passes == []


def test_the_shipped_parameters_are_valid_and_mistyped_ones_are_not():
    shipped = yaml.safe_load((CONF / "parameters_embed.yml").read_text())["embed"]
    assert EmbedParams(**shipped) == EmbedParams()
    for wrong in (
        {"batch_size": 0},
        {"shard_rows": "many"},
        {"device": "gpu"},
        {"output": "x"},
        {"bs": 4},
    ):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            EmbedParams(**{**shipped, **wrong})


def test_the_engine_and_its_parameters_reach_ray(tmp_path, backbone, monkeypatch):
    asked: dict[str, Any] = {}

    def engine(images, encoder, store, **options):
        asked.update(options)
        return "embeddings", {}

    monkeypatch.setattr(nodes, "embed_images_on_ray", engine)
    given = EmbedParams(engine="ray", ray={"address": "head:6379", "workers": 3})
    images, settings = table(2), processor_settings(backbone)
    store = EmbeddingStore(tmp_path)
    done = nodes.embed_images(images, images.frame(), settings, store, backbone, given)
    assert done == ("embeddings", {})
    assert (asked["address"], asked["workers"], asked["max_retries"]) == ("head:6379", 3, 1)
    assert asked["batch_size"] is None
