"""Child runs: each variant of a comparison is a run of its own, nested under the pipeline's."""

from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from glasshead.hooks.processes import PROCESS_TAG, process_tag
from glasshead.hooks.tags import run_name

OUTCOMES = {"FINISHED": "success", "FAILED": "failure", "KILLED": "interrupted"}


class ChildRuns:
    """The child runs of one pipeline's run, by comparison and variant; they share what it chooses and its start."""

    def __init__(
        self, parent_id: str, experiment_id: str, choices: Mapping[str, str], started: str
    ) -> None:
        self._parent_id, self._experiment_id = parent_id, experiment_id
        self._choices, self._started = choices, started
        self._open: dict[tuple[str, str], str] = {}

    def run_id(self, comparison: str, variant: str) -> str:
        """Return the id of a variant's run, which is opened if need be."""
        key = comparison, variant
        if key not in self._open:
            tags = {
                MLFLOW_PARENT_RUN_ID: self._parent_id,
                MLFLOW_RUN_NAME: run_name(variant, self._choices, self._started),
                PROCESS_TAG: process_tag(),
                "classifier": f"{comparison}.{variant}",
                "comparison": comparison,
                "variant": variant,
                **self._choices,
            }
            run = MlflowClient().create_run(self._experiment_id, tags=tags)
            self._open[key] = run.info.run_id
        return self._open[key]

    def finish(self, comparison: str, variant: str) -> None:
        """Close the run of a variant that has all its results."""
        self._end(self._open.pop((comparison, variant)), "FINISHED")

    def close(self, status: str) -> None:
        """Close the runs that still lack results with the status of the pipeline's run."""
        while self._open:
            self._end(self._open.popitem()[1], status)

    def _end(self, run_id: str, status: str) -> None:
        client = MlflowClient()
        client.set_terminated(run_id, status)
        client.set_tag(run_id, "outcome", OUTCOMES[status])
