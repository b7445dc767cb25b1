"""What a run says about itself, its names and tags; and child runs: each variant of a comparison is nested under it."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.pipeline import Pipeline
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from glasshead.hooks.processes import PROCESS_TAG, process_tag

CHOICES = {  # what runs are told apart and filtered by, where they choose it
    "source": "params:ingest.source",
    "taxonomy": "params:preprocess.taxonomy",
    "backbone": "params:backbone.name",
}
OUTCOMES = {"FINISHED": "success", "FAILED": "failure", "KILLED": "interrupted"}


def run_name(subject: str, choices: Mapping[str, str], started: str) -> str:
    """Return what was run, on what and when, such as "heads, scenes, concepts, nano-clip, 2026-11-30 13:05:39"."""
    return ", ".join([subject, *(Path(choice).name for choice in choices.values()), started])


def subject_of(pipeline_names: list[str] | None) -> str:
    """Return the names of the pipelines that are run; the default is all of the heads."""
    return "+".join(pipeline_names or ["heads"]).replace("__default__", "heads")


def choices_of(pipeline: Pipeline, parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return what this run's nodes choose; a later stage takes what lies there, whatever the parameters say."""
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
        "runner": run_params["runner"].split(" ")[0].split(".")[-1],  # not its memory address
        "classifier": ", ".join(sorted(owners)),
        **git_tags(Path(run_params["project_path"])),
    }


def git_tags(project: Path) -> dict[str, str]:
    """Return the commit of the project and whether files differ from it; nothing outside a repository."""
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
