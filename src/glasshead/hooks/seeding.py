"""Global random generators, for the libraries that draw from them."""

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline.node import Node

from glasshead.seeds import seed_everything, stream_seed


class SeedHooks:
    """Seed before every node, by its name: a node draws the same whether the run began at it or before."""

    @hook_impl
    def before_node_run(self, node: Node, catalog: DataCatalog) -> None:
        """Seed the global generators on the node's own stream of `params:seed`."""
        seed_everything(stream_seed(catalog.load("params:seed"), node.name))
