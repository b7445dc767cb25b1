"""Starting: `glasshead predict` for one image, against `kedro predict`, the same after Kedro's start.

Each round starts a process of either, and of one that only imports torch, in turn; one round before is not counted.
The heads on nano-clip are untrained, which changes no time, and the image is a shipped sample. Seconds are of
processor time in user mode, which other work on the machine changes little; of the rounds the fastest counts. The note
gives seconds on the clock too. `resized` is that image at 500×375 pixels. `limit`'s peer is importing torch: no
prediction by it starts sooner.
"""

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image

from glasshead.models.backbone import BackboneParams
from glasshead.models.classifier import Concept
from glasshead.models.clip import load_encoder
from glasshead.models.heads import Bottleneck, GlassHeads
from report import ROOT, Result, write_results

ROUNDS = 5
SAMPLE = ROOT / "src" / "glasshead" / "assets" / "samples" / "cat.png"


def save_heads(folder: Path) -> None:
    """Save heads of the default's width, of random weights."""
    encoder = load_encoder(BackboneParams())
    bottleneck = Bottleneck(encoder.dimension, (2, 2), 10, hidden=64, meta_hidden=64)
    names = tuple(f"class {index}" for index in range(10))
    concepts = (Concept("wings", ("yes", "no")), Concept("wheels", ("yes", "no")))
    GlassHeads(encoder, bottleneck, names, concepts, {}).save(folder)


def take_seconds(arguments: list[str]) -> tuple[float, float]:
    """Return the processor time in user mode of a Python process from its start to its end, and that on the clock."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "src", "DO_NOT_TRACK": "true"},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    user = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    return user, time.perf_counter() - start


def measure(folder: Path) -> dict[str, tuple[float, float]]:
    """Return the least seconds of each command, in user mode and on the clock; `folder` holds the classifier."""
    resized = folder / "resized.png"
    with Image.open(SAMPLE) as image:
        image.resize((500, 375)).save(resized)
    predict, again = (
        ["predict", str(path), "--classifier", str(folder)] for path in (SAMPLE, resized)
    )
    commands = {
        "ours": ["-m", "glasshead", *predict],
        "kedro": ["-m", "kedro", *predict],
        "ours, resized": ["-m", "glasshead", *again],
        "kedro, resized": ["-m", "kedro", *again],
        "torch": ["-c", "import torch"],
    }
    rounds = [
        {name: take_seconds(command) for name, command in commands.items()}
        for _ in range(ROUNDS + 1)
    ]
    return {
        name: (min(each[name][0] for each in rounds[1:]), min(each[name][1] for each in rounds[1:]))
        for name in commands
    }


def main() -> None:
    """Start the processes in turn and write the results."""
    with tempfile.TemporaryDirectory() as name:
        save_heads(Path(name))
        seconds = measure(Path(name))
    device = f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)"

    def row(case: str, own: str, peer: str, note: str) -> Result:
        (ours, clock), (theirs, their_clock) = seconds[own], seconds[peer]
        return {
            "case": case,
            "ours": round(ours, 2),
            "peer": round(theirs, 2),
            "ratio": round(theirs / ours, 2),
            "unit": "s",
            "device": device,
            "note": f"least of {ROUNDS} rounds; peer: {note}; on the clock {clock:.2f} and {their_clock:.2f} s",
        }

    write_results(
        "predict",
        [
            row("start", "ours", "kedro", "kedro predict"),
            row("resized", "ours, resized", "kedro, resized", "kedro predict"),
            row("limit", "ours", "torch", "import torch alone"),
        ],
    )


if __name__ == "__main__":
    main()
