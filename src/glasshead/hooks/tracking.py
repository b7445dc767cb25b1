"""Record every `kedro run` as one MLflow run, which is complete or marked as incomplete.

Results never depend on MLflow: if tracking fails, the failure is noted and the run goes on.
"""

import atexit
import functools
import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec

import mlflow
import pandas as pd
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro_mlflow.framework.hooks.mlflow_hook import MlflowHook
from mlflow.tracking.context.default_context import DefaultRunContext
from omegaconf import OmegaConf
from pydantic import BaseModel

from glasshead.hooks import routes
from glasshead.hooks.headlines import headline_parameters
from glasshead.hooks.processes import close_orphans, create_store, exit_on_sigterm
from glasshead.hooks.record import RECORD
from glasshead.hooks.tags import OUTCOMES, ChildRuns, choices_of, run_name, run_tags, subject_of

logger = logging.getLogger(__name__)

DATA = frozenset({"images", "samples"})
PATIENCE = 20.0  # seconds that failing calls may take in a run before tracking stops

P = ParamSpec("P")


def best_effort(
    method: Callable[Concatenate["TrackingHooks", P], None],
) -> Callable[Concatenate["TrackingHooks", P], None]:
    """Call `method` only while a run is open; note failures instead of raising them; stop tracking after `PATIENCE`."""

    @functools.wraps(method)
    def attempt(self: "TrackingHooks", /, *args: P.args, **kwargs: P.kwargs) -> None:
        if not self.is_open or self.wasted > PATIENCE:
            return
        started = time.perf_counter()
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self.wasted += time.perf_counter() - started
            self.note_failure(error)

    return attempt


class TrackingHooks(MlflowHook):  # type: ignore[misc]  # the plugin is untyped
    """kedro-mlflow's hook, which opens the run, extended by parameters, results, lineage and a correct status.

    The plugin alone would fail the pipeline whenever MLflow fails, and would show interrupted runs as finished.
    """

    run_id: Any  # set by the plugin: str while a run is open, else None

    def __init__(self) -> None:
        super().__init__()
        self.is_open = False
        self.failure: str | None = None
        self.wasted = 0.0
        self._started: dict[str, float] = {}
        self._children: ChildRuns | None = None
        # Exit handlers run in reverse order, so this one runs before MLflow's own.
        atexit.register(self.close, "KILLED")

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Connect to the store named in mlflow.yml, after closing a run that an interrupt left open in this process."""
        self.close("KILLED")
        self.run_id, self.failure, self.wasted = None, None, 0.0
        root = context.project_path
        OmegaConf.register_resolver("project_path", lambda path: str(root / path), replace=True)
        self._is_connected = self._connect(context)

    @hook_impl
    def after_catalog_created(
        self,
        catalog: DataCatalog,
        conf_catalog: dict[str, Any],
        conf_creds: dict[str, Any],
        parameters: dict[str, Any],
        save_version: str,
        load_versions: dict[str, str],
    ) -> None:
        """Keep the catalog, which knows the files of results, and the parameters, from which the run gets its name.

        Raises CatalogError if a catalog entry names a way of logging that does not exist.
        """
        routes.check_kinds(conf_catalog)
        self._catalog, self._parameters = catalog, parameters

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Open the run and log its name, tags and parameters."""
        self._pid, self._has_digest = os.getpid(), False
        self._began = time.perf_counter()
        # Treated as open from here on, as an interrupt may come before the run has its id.
        self.is_open = self._is_connected
        self._begin(run_params, pipeline, catalog)
        self.is_open = self.run_id is not None

    @hook_impl
    def before_node_run(
        self, node: Node, catalog: DataCatalog, inputs: dict[str, Any], is_async: bool
    ) -> None:
        """Make the run active in the node's thread, and start the node's clock."""
        self._join_run(node, catalog, is_async)
        self._started[node.name] = time.perf_counter()

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Log how long the node took."""
        seconds = time.perf_counter() - self._started.pop(node.name)
        logger.info("%s took %.1f s", node.name, seconds)

    @hook_impl
    def after_node_kept(self, node: Node, catalog: DataCatalog) -> None:
        """Log the results that an earlier run has left, as if the node had saved them in this run."""
        self._join_run(node, catalog, is_async=False)
        for name in node.outputs:
            self._log_digest(name)
            self._log_kept(name)

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Log the digest of the image table, and subscribe to a comparison that reports its variants."""
        self._log_digest(dataset_name)
        if routes.kind_of(self._catalog, dataset_name) == routes.VARIANTS:
            comparison = dataset_name.rsplit(".", 1)[0]
            data.observe = functools.partial(self._log_variant, comparison)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Log the digest of the image table, and each result in the way that its catalog entry names (see routes)."""
        self._log_digest(dataset_name)
        self._log_result(dataset_name, data)

    @hook_impl
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Close the run as finished, and log where the results of each classifier are."""
        self._log_whole()
        self.close("FINISHED")
        for name in sorted(pipeline.all_outputs()):
            if name.endswith(".metrics") and (path := routes.path_of(catalog, name)):
                logger.info("Results of %s: %s", name.removesuffix(".metrics"), path.parent)

    @hook_impl
    def on_pipeline_error(
        self, error: Exception, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Close the run as failed."""
        self._log_whole()
        self.close("FAILED")

    def close(self, status: str) -> None:
        """End the run if this process has one open; warn if the record is incomplete."""
        if self.is_open and os.getpid() == self._pid:
            try:
                self._end(status)
            except Exception as error:
                self.note_failure(error)
        self.is_open = False
        if self.failure:
            logger.warning("MLflow's record of this run is incomplete: %s", self.failure)
            self.failure = None

    def note_failure(self, error: Exception) -> None:
        """Keep the first failure as the reason why the record is incomplete."""
        logger.warning("MLflow tracking failed: %s", error)
        self.failure = self.failure or str(error)

    def _connect(self, context: KedroContext) -> bool:
        """Return whether the store answers; try twice, as another run may just have created the same experiment."""
        for last in (False, True):
            try:
                create_store(context.config_loader["mlflow"]["server"]["mlflow_tracking_uri"])
                super().after_context_created(context)
                return True
            except Exception as error:
                if last:
                    self.note_failure(error)
        return False

    @best_effort
    def _begin(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        choices = choices_of(pipeline, self._parameters)
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        run = self.mlflow_config.tracking.run
        run.name = run.name or run_name(subject_of(run_params["pipeline_names"]), choices, started)
        tags = run_tags(run_params, pipeline) | choices
        exit_on_sigterm()
        client = mlflow.MlflowClient()
        if self._is_to_create_run(run_params):
            # start_run would import IPython and GitPython first, for tags of Databricks and for the commit
            experiment = self.mlflow_config.tracking.experiment._experiment.experiment_id
            context = DefaultRunContext().tags()
            created = client.create_run(experiment, run_name=run.name, tags=context | tags)
            self.run_id = run.id = created.info.run_id
        super().before_pipeline_run(run_params, pipeline, catalog)
        mlflow.set_tags(tags)
        experiment_id = client.get_run(self.run_id).info.experiment_id
        self._children = ChildRuns(self.run_id, experiment_id, choices, started)
        close_orphans(client, experiment_id)
        parameters = _parameters(pipeline, catalog)
        mlflow.log_params(dict(headline_parameters(parameters)))
        client.log_dict(self.run_id, parameters, "parameters.json")

    def _is_to_create_run(self, run_params: dict[str, Any]) -> bool:
        """Return whether MLflow has no run that this one is to be logged to, and mlflow.yml asks for one."""
        tracking = self.mlflow_config.tracking
        names = run_params["pipeline_names"] or ["__default__"]
        is_given = self._already_active_mlflow or tracking.run.id or "MLFLOW_RUN_ID" in os.environ
        return not is_given and not set(names) <= set(tracking.disable_tracking.pipelines)

    @best_effort
    def _join_run(self, node: Node, catalog: DataCatalog, is_async: bool) -> None:
        super().before_node_run(node, catalog, {}, is_async)  # it logs parameters in the inputs

    @best_effort
    def _log_whole(self) -> None:
        """Log how long the run took, and the record of its nodes."""
        routes.log_metrics(self.run_id, [("seconds", time.perf_counter() - self._began, 0)])
        self._log_result(RECORD, None)

    @best_effort
    def _log_digest(self, dataset: str) -> None:
        """Log the image table once as the run's input, when it or the samples are first loaded or saved."""
        if dataset not in DATA or self._has_digest or not self._catalog.exists("images"):
            return
        self._has_digest = True
        path = routes.path_of(self._catalog, "images")
        routes.log_data(self.run_id, self._catalog.load("images"), path)

    @best_effort
    def _log_result(self, dataset: str, data: Any) -> None:
        if log := routes.ROUTES.get(routes.kind_of(self._catalog, dataset) or ""):
            log(self.run_id, data, routes.path_of(self._catalog, dataset))

    @best_effort
    def _log_kept(self, dataset: str) -> None:
        if routes.kind_of(self._catalog, dataset) in routes.ROUTES:
            self._log_result(dataset, self._catalog[dataset].load())

    @best_effort
    def _log_variant(
        self, comparison: str, variant: str, results: Mapping[str, Any], finished: bool
    ) -> None:
        """Log results of one variant of a comparison to the variant's own run; the first results open this run."""
        if self._children is None:
            return
        run_id = self._children.run_id(comparison, variant)
        for name, data in results.items():
            if isinstance(data, pd.DataFrame):
                routes.log_curves(run_id, data, name)
            else:
                routes.log_results(run_id, data, None)
        if finished:
            self._children.finish(comparison, variant)

    def _end(self, status: str) -> None:
        active = mlflow.active_run()
        run_id = active.info.run_id if active else self.run_id
        children, self._children = self._children, None
        try:
            if children:
                children.close(status)
        finally:  # MLflow would mark a parent that is still open as finished when Python exits
            self._end_own(run_id, status)

    def _end_own(self, run_id: str | None, status: str) -> None:
        if self._already_active_mlflow or run_id is None:
            return  # no run was opened, or it belongs to other code, which closes it
        while mlflow.active_run():  # else MLflow calls them finished at exit
            mlflow.end_run(status)
        client = mlflow.MlflowClient()
        client.set_terminated(run_id, status)  # a run that another thread opened
        record = f"incomplete: {self.failure}" if self.failure else "complete"
        client.set_tag(run_id, "tracking", record)
        client.set_tag(run_id, "outcome", OUTCOMES[status])


def _parameters(pipeline: Pipeline, catalog: DataCatalog) -> dict[str, Any]:
    """Return all parameters that a run reads, with defaults, by block; also the seed, which the hooks read."""
    names = {"params:seed"} | {name for name in pipeline.inputs() if name.startswith("params:")}
    values = {name.removeprefix("params:"): catalog.load(name) for name in sorted(names)}
    return {
        name: value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        for name, value in values.items()
    }
