"""Names and tags of MLflow runs; child runs, one for each variant of a comparison, nested under the run."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.pipeline import Pipeline
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from glasshead.hooks.processes import PROCESS_TAG, process_tag

CHOICES = {  # parameters by which people tell runs apart and filter them
    "source": "params:ingest.source",
    "taxonomy": "params:preprocess.taxonomy",
    "backbone": "params:backbone.name",
}
OUTCOMES = {"FINISHED": "success", "FAILED": "failure", "KILLED": "interrupted"}


def run_name(subject: str, choices: Mapping[str, str], started: str) -> str:
    """Return a run's name, such as "heads, scenes, concepts, nano-clip, 2026-11-30 13:05:39"."""
    return ", ".join([subject, *(Path(choice).name for choice in choices.values()), started])


def subject_of(pipeline_names: list[str] | None) -> str:
    """Return the names of the pipelines that are run, joined by "+"; "heads" for the default pipeline."""
    return "+".join(pipeline_names or ["heads"]).replace("__default__", "heads")


def choices_of(pipeline: Pipeline, parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the choices that this run's nodes read from parameters; a stage alone uses what earlier stages stored."""
    read = pipeline.inputs()
    return {
        tag: str(parameters[name])
        for tag, name in CHOICES.items()
        if name in parameters and name.split(".")[0] in read
    }


def run_tags(run_params: dict[str, Any], pipeline: Pipeline) -> dict[str, str]:
    """Return environment, classifiers, commit and process of a run."""
    owners = {name.split(".")[0] for name in pipeline.all_outputs() if "." in name}
    return {
        PROCESS_TAG: process_tag(),
        "env": run_params["env"] or "base",
        "runner": run_params["runner"].split(" ")[0].split(".")[-1],  # without its memory address
        "classifier": ", ".join(sorted(owners)),
        **git_tags(Path(run_params["project_path"])),
    }


def git_tags(project: Path) -> dict[str, str]:
    """Return the project's commit and whether files differ from it; an empty dict outside a repository."""
    try:
        commit, changes = (
            subprocess.run(
                ["git", *command],
                cwd=project,
                capture_output=True,
                check=True,
                text=True,
                timeout=10,
            ).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return {MLFLOW_GIT_COMMIT: commit, "git.changed": str(bool(changes)).lower()}


class ChildRuns:
    """The child runs of one run, by comparison and variant; they share the run's choices and its start time."""

    def __init__(
        self, parent_id: str, experiment_id: str, choices: Mapping[str, str], started: str
    ) -> None:
        self._parent_id, self._experiment_id = parent_id, experiment_id
        self._choices, self._started = choices, started
        self._open: dict[tuple[str, str], str] = {}

    def run_id(self, comparison: str, variant: str) -> str:
        """Return the id of a variant's run; open this run if it is not open."""
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
        """Mark the MLflow run of a comparison's variant as finished, once all its results are logged."""
        self._end(self._open.pop((comparison, variant)), "FINISHED")

    def close(self, status: str) -> None:
        """Close all child runs that are still open, with the `status` of the parent run."""
        while self._open:
            self._end(self._open.popitem()[1], status)

    def _end(self, run_id: str, status: str) -> None:
        client = MlflowClient()
        client.set_terminated(run_id, status)
        client.set_tag(run_id, "outcome", OUTCOMES[status])
