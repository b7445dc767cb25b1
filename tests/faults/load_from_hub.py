"""Load backbones of the hub, one a revision, and count what is asked of the network; run by test_hub_offline.py.

Arguments: a hub id, then revisions ("" is none). Prints one JSON object a revision: the encoder's key or the error,
and how many connections were tried.
"""

import json
import socket
import sys
import time
from typing import Any

from glasshead.errors import BackboneError
from glasshead.models.backbone import BackboneParams
from glasshead.models.clip import load_encoder

connect = socket.socket.connect
tried: list[Any] = []


def count(self: socket.socket, address: Any) -> None:
    """Connect as a socket does, and note it."""
    tried.append(address)
    connect(self, address)


def main() -> None:
    """Try each revision once."""
    socket.socket.connect = count
    time.sleep = lambda seconds: None  # the client's pauses between its tries
    for revision in sys.argv[2:]:
        tried.clear()
        try:
            encoder = load_encoder(BackboneParams(name=sys.argv[1], revision=revision or None))
            line = {"key": encoder.key, "revision": encoder.backbone.revision}
        except BackboneError as error:
            line = {"error": str(error)}
        sys.stdout.write(json.dumps(line | {"connections": len(tried)}) + "\n")


if __name__ == "__main__":
    main()
