"""Progress in the log, for steps that can take more than a few seconds."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

logger = logging.getLogger(__name__)

EVERY = 5.0  # seconds between two messages

Item = TypeVar("Item")


def reported(
    items: Iterable[Item],
    what: str,
    total: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Item]:
    """Yield `items`, and log every few seconds how many are done, and how long the others take if `total` is known.

    `what` names the items in the plural, such as "images read".
    """
    started = said = clock()
    for done, item in enumerate(items):
        now = clock()
        if now - said >= EVERY and done:
            said = now
            if total:
                left = (now - started) / done * (total - done)
                logger.info("%d of %d %s, about %.0f s left", done, total, what, max(left, 0.0))
            else:
                logger.info("%d %s", done, what)
        yield item
