"""What a run says about itself: names and tags."""

import subprocess
from pathlib import Path
from typing import Any

from kedro.pipeline import Pipeline
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT

from glasshead.hooks.processes import PROCESS_TAG, process_tag


def run_name(
    pipeline_names: list[str] | None, pipeline: Pipeline, parameters: dict[str, Any]
) -> str:
    """Return what was run on which taxonomy and backbone, such as "heads, concepts, nano-clip"."""
    pipelines = "+".join(pipeline_names or ["heads"]).replace("__default__", "heads")
    names = (Path(choice).name for choice in _choices(pipeline, parameters).values())
    return ", ".join([pipelines, *names])


def run_tags(
    run_params: dict[str, Any], pipeline: Pipeline, parameters: dict[str, Any]
) -> dict[str, str]:
    """Return environment, backbone, taxonomy, classifiers, commit and process of a run."""
    owners = {name.split(".")[0] for name in pipeline.all_outputs() if "." in name}
    return {
        PROCESS_TAG: process_tag(),
        "env": run_params["env"] or "base",
        "runner": run_params["runner"].split(" ")[0].split(".")[-1],  # not its memory address
        "classifier": ", ".join(sorted(owners)),
        **_choices(pipeline, parameters),
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


def _choices(pipeline: Pipeline, parameters: dict[str, Any]) -> dict[str, str]:
    """Return what this run's nodes choose; a later stage takes what lies there, whatever the parameters say."""
    named = {"taxonomy": "params:preprocess.taxonomy", "backbone": "params:backbone.name"}
    read = pipeline.inputs()
    return {
        tag: str(parameters[name])
        for tag, name in named.items()
        if name in parameters and name.split(".")[0] in read
    }
