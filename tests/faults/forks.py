"""For scripts that are run on failpoints: each try is a fork, so that torch is imported once."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from glasshead.files import FAILPOINT

Action = Callable[[Path], None]  # leaves what it found in the folder's result.json


def in_a_fork(action: Action, root: Path, failpoint: str) -> int:
    """Return the signal that ended `action`, 0 if none did, less than 0 for an error."""
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)
    os.environ[FAILPOINT] = failpoint
    try:
        action(root)
    except BaseException:
        os._exit(1)
    os._exit(0)


def try_failpoints(
    action: Action, after_kill: Callable[[Path], dict[str, Any]] = lambda root: {}
) -> None:
    """Print one JSON object for each failpoint of the command line: how two tries ended, and what the second found.

    The first argument is a folder; each failpoint has one of its own there, and the second try goes on in it.
    `after_kill` says more of what the first try left.
    """
    torch.set_num_threads(1)  # threads do not survive a fork
    for number, failpoint in enumerate(sys.argv[2:]):
        root = Path(sys.argv[1]) / str(number)
        root.mkdir()
        ended = in_a_fork(action, root, failpoint)
        left = after_kill(root)
        again = in_a_fork(action, root, "")
        result = json.loads((root / "result.json").read_text())
        line = {"failpoint": failpoint, "ended": ended, "again": again, **left, **result}
        sys.stdout.write(json.dumps(line) + "\n")
