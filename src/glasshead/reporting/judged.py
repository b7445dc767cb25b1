"""Which results a summary has judged, so that those of a later run do not pass for them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any


def digests_of(
    metrics: Any, findings: Sequence[Any] | None, figures: Mapping[str, bytes]
) -> dict[str, str]:
    """Return the SHA-256 of each result by name: metrics, findings, figures/<name>; the first two of JSON values."""
    values = {"metrics": metrics, "findings": findings}
    results = {name: json.dumps(each, sort_keys=True).encode() for name, each in values.items()}
    results |= {f"figures/{name}": png for name, png in figures.items()}
    return {name: hashlib.sha256(data).hexdigest() for name, data in results.items()}
