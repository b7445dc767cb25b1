"""Nodes of `ingest`."""

import logging

from glasshead.images.sources.params import IngestParams
from glasshead.images.sources.read import Ingested, read_source

logger = logging.getLogger(__name__)


def read_images(parameters: IngestParams, seed: int) -> Ingested:
    """Return the image table, the quarantine, the planted defects and the image counts of the chosen source."""
    ingested = read_source(parameters, seed)
    logger.info("%s: %d images", parameters.source, len(ingested.images))
    if len(ingested.quarantine):
        logger.warning(
            "%d files cannot be used; data/02_intermediate/quarantine.csv lists each with the reason",
            len(ingested.quarantine),
        )
    return ingested
