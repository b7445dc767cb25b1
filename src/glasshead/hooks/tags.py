"""What a run says about itself: names and tags."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.pipeline import Pipeline
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT

from glasshead.hooks.processes import PROCESS_TAG, process_tag

CHOICES = {  # what runs are told apart and filtered by, where they choose it
    "source": "params:ingest.source",
    "taxonomy": "params:preprocess.taxonomy",
    "backbone": "params:backbone.name",
}


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
