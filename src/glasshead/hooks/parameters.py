"""Refuses what no pipeline reads, as Kedro itself would pass a mistyped name over in silence; seeds each node."""

import difflib
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from glasshead.errors import ParameterError
from glasshead.seeds import seed_everything, stream_seed


class ParameterHooks:
    """Check names, the seed, and what must fit together before any node runs; Pydantic types check the blocks."""

    @hook_impl
    def after_catalog_created(self, parameters: dict[str, Any]) -> None:
        """Raise ParameterError for a top-level name that no pipeline reads, or a seed that is no whole number.

        `parameters` is Kedro's: all of them under "parameters", and each once more under its own name.
        """
        prefix = "params:"
        known = sorted(
            {"seed"}  # which the hooks read
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

    @hook_impl(tryfirst=True)  # before the run is opened in MLflow
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Raise ParameterError where the run is to embed for its heads what heads cannot read."""
        trains_on_them = {"params:embed", "params:train_heads"} <= pipeline.inputs()
        output = catalog["params:embed"].load().output if trains_on_them else ""
        if output in ("spatial", "attention_inputs"):
            raise ParameterError(
                f"Heads read one vector an image, and embed.output={output} gives one for each place of it. Set it to "
                "projected or pooled, or embed alone, with --pipelines=ingest,preprocess,embed."
            )


class SeedHooks:
    """Seed before every node, by its name: a node draws the same whether the run began at it or before."""

    @hook_impl
    def before_node_run(self, node: Node, catalog: DataCatalog) -> None:
        """Seed the global generators on the node's own stream of `params:seed`."""
        seed_everything(stream_seed(catalog.load("params:seed"), node.name))
