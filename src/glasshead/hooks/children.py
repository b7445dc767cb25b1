"""Child runs: each variant of a comparison, a namespace `<comparison>.<variant>`, is nested under the run of all."""

from collections import Counter

from kedro.pipeline import Pipeline
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from glasshead.hooks.processes import PROCESS_TAG, process_tag

OUTCOMES = {"FINISHED": "success", "FAILED": "failure", "KILLED": "interrupted"}


def variant_of(name: str) -> str | None:
    """Return the variant that a node or dataset of this name belongs to, such as "ablation.none_0", or None."""
    parts = name.split(".")
    return ".".join(parts[:2]) if len(parts) > 2 and not name.startswith("params:") else None


class ChildRuns:
    """The child runs of one pipeline's run: opened by their first node, finished with their last dataset."""

    def __init__(self, parent_id: str, experiment_id: str, pipeline: Pipeline) -> None:
        self._parent_id, self._experiment_id = parent_id, experiment_id
        variants = (variant_of(output) for output in pipeline.all_outputs())
        self._unsaved = Counter(variant for variant in variants if variant)
        self._open: dict[str, str] = {}

    def run_id(self, name: str) -> str:
        """Return the run that a node or dataset belongs to: its variant's, opened if need be, or the parent."""
        variant = variant_of(name)
        if variant is None:
            return self._parent_id
        if variant not in self._open:
            comparison, label = variant.split(".")
            tags = {
                MLFLOW_PARENT_RUN_ID: self._parent_id,
                MLFLOW_RUN_NAME: label,
                PROCESS_TAG: process_tag(),
                "classifier": variant,
                "comparison": comparison,
            }
            run = MlflowClient().create_run(self._experiment_id, tags=tags)
            self._open[variant] = run.info.run_id
        return self._open[variant]

    def note_saved(self, dataset: str) -> None:
        """Close the run of the variant as finished if this was the last dataset that it lacked."""
        if variant := variant_of(dataset):
            self._unsaved[variant] -= 1
            run_id = None if self._unsaved[variant] else self._open.pop(variant, None)
            if run_id is not None:
                self._end(run_id, "FINISHED")

    def close(self, status: str) -> None:
        """Close the runs that still lack results, as runs that were cut short: failed or killed."""
        while self._open:
            self._end(self._open.popitem()[1], status)

    def _end(self, run_id: str, status: str) -> None:
        client = MlflowClient()
        client.set_terminated(run_id, status)
        client.set_tag(run_id, "outcome", OUTCOMES[status])
