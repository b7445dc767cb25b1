"""Refuse parameters that no pipeline reads, as Kedro ignores mistyped names silently; seed each node."""

import difflib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from glasshead.errors import ArtifactError, ParameterError
from glasshead.images.sources.base import SourceParams
from glasshead.images.taxonomy import check_taxonomy
from glasshead.models.backbone import BackboneParams, check_backbone
from glasshead.seeds import seed_everything, stream_seed


class ParameterHooks:
    """Check names, the seed and settings that depend on each other before any node runs; Pydantic checks each block."""

    @hook_impl
    def after_catalog_created(self, parameters: dict[str, Any]) -> None:
        """Raise ParameterError for a top-level name that no pipeline reads, or for a seed that is not an integer >= 0.

        `parameters` comes from Kedro: "parameters" holds all parameters, and each also has its own key.
        """
        prefix = "params:"
        known = sorted(
            {"seed", "fresh"}  # read by hooks and runner, not by a pipeline
            | {
                name.removeprefix(prefix).split(".")[0]
                for pipeline in pipelines.values()
                for name in pipeline.inputs()
                if name.startswith(prefix)
            }
        )
        given = parameters["parameters"]
        for name in sorted(set(given) - set(known)):
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(known)}."
            raise ParameterError(f"There is no parameter {name!r}. {hint}")
        seed = given.get("seed")
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise ParameterError(f"The parameter seed must be a whole number from 0, not {seed!r}.")
        if not isinstance(given.get("fresh", False), bool):
            raise ParameterError(
                f"The parameter fresh must be true or false, not {given['fresh']!r}."
            )

    @hook_impl(tryfirst=True)  # before the run is opened in MLflow
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Refuse a run that must fail, before anything is computed.

        Raises:
            SourceError, TaxonomyError, BackboneError: the images, the taxonomy or the backbone that the run would read
                are missing or do not fit, as far as that can be seen without reading images or fetching files.
            ModelError: likewise, of a classifier from outside.
            ArtifactError: the disk has no room for the table of images, which this run would write for the first time.
            ParameterError: the run embeds images for the heads in a form that heads cannot read.
        """
        _check_inputs(pipeline, catalog)
        trains_on_them = {"params:embed", "params:train_heads"} <= pipeline.inputs()
        output = catalog["params:embed"].load().output if trains_on_them else ""
        if output in ("spatial", "attention_inputs"):
            raise ParameterError(
                f"Heads read one vector for each image, but embed.output={output} gives one for each patch of it. Set "
                "embed.output to projected or pooled. To embed without training heads, run "
                "`kedro run --pipelines=ingest,preprocess,embed`."
            )


def _check_inputs(pipeline: Pipeline, catalog: DataCatalog) -> None:
    from glasshead.images.sources.params import IngestParams

    read = pipeline.inputs()

    def parameters(name: str) -> Any:
        return catalog[f"params:{name}"].load() if f"params:{name}" in read else None

    ingest, preprocess, backbone = map(parameters, ("ingest", "preprocess", "backbone"))
    classes = None
    if isinstance(ingest, IngestParams):
        classes = ingest.chosen.known_classes()
        _check_room(ingest.chosen, getattr(catalog.get("images"), "_filepath", None))
    if preprocess is not None and "taxonomies" in read:
        check_taxonomy(preprocess.taxonomy, catalog["taxonomies"].load(), classes)
    if isinstance(backbone, BackboneParams):
        check_backbone(backbone)
    if external := parameters("external"):
        from glasshead.models.outside import check_model  # torch, which only such a run needs

        check_model(external.model)


def _check_room(source: SourceParams, table: Path | None) -> None:
    """Raise ArtifactError if there is no room for the images of `source`, which are copied to the new file `table`.

    They go through a temporary file of the same size, often on the same disk.
    """
    if table is None or table.exists():
        return
    folder = next(parent for parent in table.absolute().parents if parent.exists())
    places = (folder, Path(tempfile.gettempdir()))
    size = source.copied_bytes()
    for place in places:
        needed = size * [other.stat().st_dev for other in places].count(place.stat().st_dev)
        free = shutil.disk_usage(place).free
        if needed > free:
            raise ArtifactError(
                f"Reading the images needs {needed / 1e9:.1f} GB on the disk of {place}, which has {free / 1e9:.1f} GB "
                "free. Free some space, or move the project or the temporary files (TMPDIR) to another disk."
            )


class SeedHooks:
    """Seed each node by its name, so that its random numbers do not depend on which nodes ran before."""

    @hook_impl
    def before_node_run(self, node: Node, catalog: DataCatalog) -> None:
        """Seed the global random generators from `params:seed` and the node's name."""
        seed_everything(stream_seed(catalog.load("params:seed"), node.name))
