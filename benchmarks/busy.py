"""Stages of the default run beside a second process that computes on all cores, against the same on an idle machine.

The second process multiplies matrices with torch, in as many threads as there are cores. Idle and busy runs alternate,
each in a process of its own, in a fresh project folder that a default run has filled. Seconds are wall-clock, from the
first node to the last; the medians over the rounds are shown. On a fair share of the cores a stage would take twice as
long: a ratio of 0.5. The peer is the idle machine, so a ratio below 1 is no loss.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from report import ROOT, Result, write_results

ROUNDS = 3
STAGES = ("train_heads", "explain")
LOAD = """
import torch
matrix = torch.rand(1024, 1024)
print("computing", flush=True)
while True:
    matrix @ matrix
"""
RUN = """
import sys, time
from kedro.framework.hooks import hook_impl
from kedro.framework.project import configure_project
from kedro.framework.session import KedroSession

class Clock:
    @hook_impl
    def before_pipeline_run(self):
        self.started = time.perf_counter()

    @hook_impl
    def after_pipeline_run(self):
        print(f"seconds {time.perf_counter() - self.started}")

configure_project("glasshead")
with KedroSession.create() as session:
    session._hook_manager.register(Clock())
    session.run(pipeline_names=[sys.argv[1]])
"""


def take_seconds(project: Path, pipeline: str) -> float:
    """Return the wall-clock time of the nodes of `pipeline`, all of which are computed."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, pipeline],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "DO_NOT_TRACK": "true"},
        capture_output=True,
        text=True,
        check=True,
    )
    return next(float(line.split()[1]) for line in done.stdout.splitlines() if "seconds " in line)


@contextmanager
def load() -> Iterator[None]:
    """Let a second process compute on all cores."""
    process = subprocess.Popen([sys.executable, "-c", LOAD], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # it has imported torch
    try:
        yield
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Run the stages idle and busy in turn, and write the results."""
    with tempfile.TemporaryDirectory() as name:
        project = Path(name)
        for entry in ("conf", "src", "pyproject.toml"):
            (project / entry).symlink_to(ROOT / entry)
        take_seconds(project, "heads")
        idle: dict[str, list[float]] = {stage: [] for stage in STAGES}
        busy: dict[str, list[float]] = {stage: [] for stage in STAGES}
        for _ in range(ROUNDS):
            for stage in STAGES:
                idle[stage].append(take_seconds(project, stage))
                with load():
                    busy[stage].append(take_seconds(project, stage))
    rows: list[Result] = []
    for stage in STAGES:
        ours, peer = statistics.median(busy[stage]), statistics.median(idle[stage])
        rows.append(
            {
                "case": stage,
                "ours": round(ours, 1),
                "peer": round(peer, 1),
                "ratio": round(peer / ours, 2),
                "unit": "s",
                "device": f"cpu ({platform.machine()}, {os.cpu_count()} threads)",
                "note": f"busy: {min(busy[stage]):.1f} to {max(busy[stage]):.1f}; "
                f"idle: {min(idle[stage]):.1f} to {max(idle[stage]):.1f}",
            }
        )
    write_results("busy", rows)


if __name__ == "__main__":
    main()
