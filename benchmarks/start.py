"""Starting, and a run in which nothing has changed, against the imports of Kedro and torch alone.

Each round starts one process of each case in turn; one round before is not counted. Runs lie in a fresh project folder
with the data that a run of the test environment has left; those to the first node stop before it. Seconds are of
processor time of all threads, user and system; of the rounds the fastest counts. The peer imports Kedro's command line,
session and torch, and does nothing. A ratio below 1 says how much more ours costs.
"""

import os
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from report import ROOT, Result, write_results

ROUNDS = 5
PEER = "import kedro.framework.cli, kedro.framework.session, torch"
RUN = """
from kedro.framework.project import configure_project
configure_project("glasshead")
from glasshead.cli import cli
cli(["run", "--env", "test"])
"""
FIRST_NODE = """
import os, sys
from kedro.framework.hooks import hook_impl
from kedro.framework.project import configure_project
from kedro.framework.session import KedroSession

class Stop:
    @hook_impl
    def before_node_run(self):
        os._exit(0)

configure_project("glasshead")
with KedroSession.create(project_path=os.getcwd()) as session:
    session._hook_manager.register(Stop())
    session.run(pipeline_names=[sys.argv[1]])
sys.exit("no node ran")
"""


def take_seconds(project: Path, arguments: list[str]) -> float:
    """Return the processor time, user and system, of a Python process in `project` from its start to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "DO_NOT_TRACK": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def make_project(folder: Path) -> None:
    """Make a project with this one's configuration in `folder`, and run the heads there in the test environment."""
    (folder / "conf").symlink_to(ROOT / "conf")
    (folder / "src").symlink_to(ROOT / "src")
    (folder / "pyproject.toml").symlink_to(ROOT / "pyproject.toml")
    take_seconds(folder, ["-c", RUN])


def main() -> None:
    """Start the processes in turn and write the results."""
    with tempfile.TemporaryDirectory() as name:
        project = Path(name)
        make_project(project)
        cases = {
            "peer": (ROOT, ["-c", PEER]),
            "registry list": (ROOT, ["-m", "kedro", "registry", "list"]),
            "calibrate/first node": (project, ["-c", FIRST_NODE, "calibrate"]),
            "heads/first node": (project, ["-c", FIRST_NODE, "heads"]),
            "heads/nothing changed": (project, ["-c", RUN]),
        }
        rounds = [
            {case: take_seconds(*command) for case, command in cases.items()}
            for _ in range(ROUNDS + 1)
        ][1:]
    least = {case: min(seconds[case] for seconds in rounds) for case in cases}
    peer = least.pop("peer")
    rows: list[Result] = [
        {
            "case": case,
            "ours": round(seconds, 2),
            "peer": round(peer, 2),
            "ratio": round(peer / seconds, 2),
            "unit": "s",
            "device": f"cpu ({platform.machine()}, {os.cpu_count()} threads)",
            "note": f"least of {ROUNDS} rounds; peer: imports of Kedro and torch alone",
        }
        for case, seconds in least.items()
    ]
    write_results("start", rows)


if __name__ == "__main__":
    main()
